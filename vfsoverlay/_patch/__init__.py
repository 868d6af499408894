"""The shim: replaces the lowest file calls and dispatches them; it has no behaviour of its own."""
