"""This device: the watched tree, the state database, locks."""
