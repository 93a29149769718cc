"""Fixtures of the crash tests; they are written in tests/support/lab.py."""

from lab import folder_lab, folder_vault, lab, s3_server, s3_vault, s3_wire, short_folder, vault

__all__ = ["folder_lab", "folder_vault", "lab", "s3_server", "s3_vault", "s3_wire", "short_folder", "vault"]
