"""Storage that the user owns: one port, one module per kind, wrappers around them."""
