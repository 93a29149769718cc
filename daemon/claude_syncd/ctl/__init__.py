"""claude-syncctl, the command line."""
