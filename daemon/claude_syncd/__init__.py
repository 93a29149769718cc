"""claude-syncd keeps Claude Code's state the same on all of a person's machines."""

__version__ = "0.1.0"
