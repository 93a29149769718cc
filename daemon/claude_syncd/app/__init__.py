"""The composition root: builds the parts from the settings, and runs them as a daemon or once."""

import gc

# Hundreds of modules are loaded next, and then the records of a whole tree: next to none of it is garbage. At the
# default the search for it took a tenth of a start and of a first push.
gc.set_threshold(50_000, 20, 20)

from claude_syncd.app.one_shot import one_shot  # noqa: E402 - see above

__all__ = ["one_shot"]
