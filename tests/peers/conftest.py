"""Fixtures: devices in one process (tests/support/device_fixtures.py), and machines (tests/support/lab.py)."""

from device_fixtures import pair, stack, vault
from lab import folder_lab, folder_vault, short_folder

__all__ = ["folder_lab", "folder_vault", "pair", "short_folder", "stack", "vault"]
