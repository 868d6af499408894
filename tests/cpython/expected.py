"""Tests of CPython that cannot pass inside a mount, each with the reason; the list may only become shorter."""

from __future__ import annotations

import sys
from typing import Final

#: Reason -> module -> class -> tests. Modules inside a package of ``test`` go by the name of the package.
_LISTS: Final[dict[str, dict[str, dict[str, str]]]] = {
    "A process that is started has copies to read, and nobody writes for it; with -E it has no mount.": {
        "test_gzip": {
            "TestCommandLine": (
                "test_compress_infile_outfile test_compress_infile_outfile_default test_decompress_infile_outfile"
            ),
        },
        "test_runpy": {
            "TestExit": "test_pymain_run_file_runpy_run_module test_pymain_run_file_runpy_run_module_as_main",
        },
        "test_shutil": {
            "TestArchives": "test_tarfile_vs_tar test_zipfile_vs_zip",
        },
        "test_tarfile": {
            "CommandLineTest": (
                "test_create_command test_create_command_compressed test_create_command_dot_started_filename "
                "test_create_command_dotless_filename test_create_command_verbose"
            ),
        },
        "test_tempfile": {
            "TestTemporaryDirectory": ("test_del_on_shutdown test_del_on_shutdown_ignore_errors test_exit_on_shutdown"),
        },
        "test_zipfile": {
            "CommandLineTest": "test_create_command test_extract_command",
        },
    },
    "A mount has no hard links: each name is an object of its own.": {
        "test_genericpath": {
            "TestGenericTest": "test_samefile_on_link test_samestat_on_link",
        },
        "test_os": {
            "LinkTests": "test_link test_link_bytes test_unicode_name",
        },
        "test_pathlib": {
            "PathSubclassTest": "test_hardlink_to",
            "PathTest": "test_hardlink_to test_link_to",
            "PosixPathTest": "test_hardlink_to test_link_to",
        },
        "test_posixpath": {
            "PosixCommonTest": "test_samefile_on_link test_samestat_on_link",
        },
        "test_shutil": {
            "TestCopy": "test_dont_copy_file_onto_link_to_itself",
        },
        "test_tarfile": {
            "Bz2WriteTest": "test_link_size",
            "GzipWriteTest": "test_link_size",
            "HardlinkTest": "test_add_hardlink",
            "LzmaWriteTest": "test_link_size",
            "WriteTest": "test_link_size",
        },
    },
    "The test makes symbolic links in the source whether they are supported or not; a mount has none.": {
        "test_pathlib": {
            "PathSubclassTest": "test_group_no_follow_symlinks test_owner_no_follow_symlinks",
            "PathTest": "test_group_no_follow_symlinks test_owner_no_follow_symlinks",
            "PosixPathTest": "test_group_no_follow_symlinks test_owner_no_follow_symlinks",
        },
        "test_shutil": {
            "TestMisc": "test_chown",
        },
        "test_tarfile": {
            "TestExtractionFilters": (
                "test_absolute_symlink test_parent_symlink test_parent_symlink2 test_sly_relative0 test_sly_relative2"
            ),
        },
    },
    "A mount has no pipes and sockets: what is in the source is a file.": {
        "test_pathlib": {
            "PathSubclassTest": "test_is_fifo_true test_is_socket_true",
            "PathTest": "test_is_fifo_true test_is_socket_true",
            "PosixPathTest": "test_is_fifo_true test_is_socket_true",
        },
        "test_shutil": {
            "TestCopy": "test_copyfile_named_pipe",
        },
        "test_tarfile": {
            "TestExtractionFilters": "test_pipe",
        },
    },
    "The name is no UTF-8 and so no key: it is hidden.": {
        "test_posixpath": {
            "PosixCommonTest": "test_nonascii_abspath",
        },
        "test_zipimport": {
            "CompressedZipImportTestCase": "testUnencodable",
            "UncompressedZipImportTestCase": "testUnencodable",
        },
    },
    "A mount has no extended attributes, though the source has.": {
        "test_os": {
            "ExtendedAttributeTests": "test_fds test_lpath test_simple",
        },
    },
    "W_OK is never granted, whatever the source allows.": {
        "test_os": {
            "FileTests": "test_access",
        },
    },
    "Modes are options of the mount, one for all files and one for all directories.": {
        "test_os": {
            "MakedirTests": "test_mode",
        },
        "test_pathlib": {
            "PathSubclassTest": "test_open_mode test_touch_mode",
            "PathTest": "test_open_mode test_touch_mode",
            "PosixPathTest": "test_open_mode test_touch_mode",
        },
    },
    "A listing knows one time of a file, that of its last change, and of a directory none.": {
        "test_os": {
            "UtimeTests": (
                "test_utime test_utime_by_indexed test_utime_by_times test_utime_dir_fd test_utime_directory "
                "test_utime_fd test_utime_nofollow_symlinks"
            ),
        },
    },
    "The time of a directory is that of its listing.": {
        "test_tarfile": {
            "Bz2MiscReadTest": (
                "test_extract_pathlike_dir test_extract_pathlike_name test_extractall_pathlike_dir "
                "test_extractall_pathlike_name"
            ),
            "GzipMiscReadTest": (
                "test_extract_pathlike_dir test_extract_pathlike_name test_extractall_pathlike_dir "
                "test_extractall_pathlike_name"
            ),
            "LzmaMiscReadTest": (
                "test_extract_pathlike_dir test_extract_pathlike_name test_extractall_pathlike_dir "
                "test_extractall_pathlike_name"
            ),
            "MiscReadTest": (
                "test_extract_pathlike_dir test_extract_pathlike_name test_extractall_pathlike_dir "
                "test_extractall_pathlike_name"
            ),
            "NoneInfoExtractTests_Data": "test_extractall_none_mtime",
            "NoneInfoExtractTests_Default": "test_extractall_none_mtime",
            "NoneInfoExtractTests_FullyTrusted": "test_extractall_none_mtime",
            "NoneInfoExtractTests_Tar": "test_extractall_none_mtime",
        },
    },
    "An entry of scandir has its attributes from the listing, and need not ask again.": {
        "test_os": {
            "TestScandir": "test_removed_dir test_removed_file",
        },
    },
    "Classes of the test are made of io.FileIO, which stays the original type and does not see mounts.": {
        "test_fileio": {
            "CAutoFileTests": "test_subclass_repr",
            "COtherFileTests": "testBooleanFd testUnclosedFDOnException",
        },
        "test_io": {
            "CBufferedRandomTest": "test_garbage_collection",
            "CBufferedWriterTest": "test_garbage_collection",
            "CIOTest": "test_destructor test_garbage_collection",
            "CTextIOWrapperTest": "test_garbage_collection",
        },
    },
    "The loader belongs to a second importlib that the test made for itself, and opens by io.FileIO.": {
        "test_importlib": {
            "Source_SourcelessLoaderBadBytecodeTestPEP302": (
                "test_bad_magic test_empty_file test_magic_only test_no_marshal test_non_code_marshal "
                "test_partial_flags test_partial_hash test_partial_magic test_partial_size test_partial_timestamp"
            ),
            "Source_SourcelessLoaderBadBytecodeTestPEP451": (
                "test_bad_magic test_empty_file test_magic_only test_no_marshal test_non_code_marshal "
                "test_partial_flags test_partial_hash test_partial_magic test_partial_size test_partial_timestamp"
            ),
        },
    },
}

#: Those of them that fail since CPython 3.13 and passed before.
_SINCE_313: Final = frozenset(
    {"test_shutil.TestMisc.test_chown", "test_tarfile.TestExtractionFilters.test_sly_relative0"}
)

#: Test -> reason.
EXPECTED: Final = {
    f"{module}.{name}.{test}": reason
    for reason, modules in _LISTS.items()
    for module, classes in modules.items()
    for name, tests in classes.items()
    for test in tests.split()
    if sys.version_info >= (3, 13) or f"{module}.{name}.{test}" not in _SINCE_313
}

#: Tests that root does not pass, and others do: for root the source is writable, whatever its mode says.
UNDECIDED: Final = frozenset(
    {"test_tempfile.TestMkdtemp.test_read_only_directory", "test_tempfile.TestMkstempInner.test_read_only_directory"}
)


def short(identity: str) -> str:
    """The *identity* of a test as it is written here: module or package, class and test."""
    parts = identity.removeprefix("test.").split(".")
    return ".".join([parts[0], *parts[-2:]])
