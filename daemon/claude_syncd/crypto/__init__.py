"""Keys, passphrases and sealing: everything that touches a secret."""
