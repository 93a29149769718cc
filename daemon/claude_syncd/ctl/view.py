"""The daemon's answers as what they stand for: JSON with attributes, in place of the structs of core/status.py."""

# Imports cost start-up time.
# ruff: noqa: PLC0415
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class View:
    """A JSON object of the daemon with its fields as attributes, as the structs of core/status.py have them.

    So what shows an answer needs not know where it comes from, and nothing is imported to decode it.
    """

    __slots__ = ("fields",)

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields

    def __getattr__(self, name: str) -> Any:
        try:
            return view(self.fields[name])
        except KeyError:
            from claude_syncd.errors import SyncError

            raise SyncError(
                f"the daemon's answer has no {name!r}: it is of another version than this command",
                hint="start it again: `claude-syncctl service stop`, then `claude-syncctl service start`",
            ) from None


def view(value: Any) -> Any:
    """Give parsed JSON with attributes for keys."""
    if isinstance(value, dict):
        return View(value)
    if isinstance(value, list):
        return [view(item) for item in value]
    return value


def plain(answer: object) -> Any:
    """Give an answer as what JSON is made of."""
    if isinstance(answer, View):
        return answer.fields
    import msgspec

    return msgspec.to_builtins(answer)
