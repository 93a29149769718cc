"""The composition root: builds the parts from the settings, and runs them as a daemon or once."""

from claude_syncd.app.one_shot import one_shot

__all__ = ["one_shot"]
