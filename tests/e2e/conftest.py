"""Fixtures of the end-to-end tests; they are written in tests/support/lab.py."""

from lab import folder_lab, folder_vault, lab, s3_server, s3_vault, short_folder, vault

__all__ = ["folder_lab", "folder_vault", "lab", "s3_server", "s3_vault", "short_folder", "vault"]
