"""What a mount shows of given keys, written as plainly as possible: the reference for the real namespaces."""

from __future__ import annotations

INVALID = {"": "empty component", ".": "'.' component", "..": "'..' component"}


class NamespaceModel:
    """The tree that the objects *sizes* (key -> size) form below *prefix*."""

    def __init__(self, sizes: dict[str, int], prefix: str) -> None:
        self.prefix = prefix
        self.sizes = {key: size for key, size in sizes.items() if key.startswith(prefix)}
        self.directories = {""}
        self.files: dict[str, int] = {}
        self.hidden: dict[str, str] = {}
        for key, size in self.sizes.items():
            self._add(key, size)
        for path in self.files.keys() & self.directories:
            del self.files[path]
            self.hidden[prefix + path] = "shadowed by a directory"

    def _add(self, key: str, size: int) -> None:
        *above, name = key[len(self.prefix) :].split("/")
        path = ""
        for component in above:
            if why := why_invalid(component):
                self.hidden[key] = why
                return
            path = f"{path}/{component}" if path else component
            self.directories.add(path)
        if not name:  # a marker
            if size:
                self.hidden[key] = "directory marker with content"
        elif why := why_invalid(name):
            self.hidden[key] = why
        else:
            self.files[f"{path}/{name}" if path else name] = size

    def lookup(self, path: str) -> int | str | None:
        """The size of a file, "directory", or None."""
        return "directory" if path in self.directories else self.files.get(path)

    def names(self, directory: str) -> list[str]:
        """The children of *directory*, in byte order."""
        above = directory + "/" if directory else ""
        below = [path[len(above) :] for path in [*self.files, *self.directories] if path and path.startswith(above)]
        return sorted({name for name in below if "/" not in name}, key=lambda name: name.encode())


def why_invalid(component: str) -> str:
    """Why *component* can be no name."""
    return "NUL character" if "\0" in component else INVALID.get(component, "")
