"""`conflicts edit`: both sides in the user's editor, and what comes out of it ends the conflict."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from claude_syncd.core.merge.markers import has_markers, marked
from claude_syncd.ctl import remote
from claude_syncd.ctl.look import say_json
from claude_syncd.ctl.options import usage_error
from claude_syncd.ctl.terminal import line, say
from claude_syncd.errors import SyncError, UsageError

if TYPE_CHECKING:
    from claude_syncd.control.messages import ConflictDraft
    from claude_syncd.ctl.options import Given

_HINT = "edit it again, or keep one side: `claude-syncctl conflicts resolve`"


def edit(given: Given, conflict: str) -> int:
    """Run the editor on a merge of both sides, and take what it leaves; nothing happens when it fails."""
    tool = given.value("--tool")
    with remote.anyone() as there:
        draft = there.draft(conflict)
    with tempfile.TemporaryDirectory(prefix="claude-sync-") as folder:
        local, merged, other = _written(Path(folder), draft)
        command = [*_command(given, tool), *([str(local), str(merged), str(other)] if tool else [str(merged)])]
        _run(command)
        try:
            text = merged.read_bytes().decode()
        except (OSError, UnicodeDecodeError):
            raise SyncError("the merge can't be read any more; nothing was resolved", hint=_HINT) from None
        if has_markers(text):
            raise SyncError("the merge still has places with both sides in it; nothing was resolved", hint=_HINT)
        with remote.anyone() as there:
            answer = there.merged(draft.conflict.id, str(merged), draft.sha256)
    if given.has("--json"):
        say_json(answer)
    else:
        say(f"{line(draft.conflict.path)}: 1 conflict resolved")
    return 0


def _written(folder: Path, draft: ConflictDraft) -> tuple[Path, Path, Path]:
    """This machine's side, the merge and the other side, in files of the same ending."""
    ending = Path(draft.conflict.path).suffix
    texts = {
        "local": draft.local,
        "merged": marked(
            draft.local, draft.remote, our_name="in the tree", their_name=f"kept, by {line(draft.conflict.device)}"
        ),
        "remote": draft.remote,
    }
    paths = []
    for name, text in texts.items():
        path = folder / f"{name}{ending}"
        path.write_bytes(text.encode())
        paths.append(path)
    return paths[0], paths[1], paths[2]


def _command(given: Given, tool: str | None) -> list[str]:
    chosen = tool if tool is not None else os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not chosen and tool is None and not sys.stdin.isatty():
        raise usage_error(given.command, "there is no terminal for an editor: say --tool, or set EDITOR")
    chosen = chosen or ("vi" if tool is None else "")
    try:
        words = shlex.split(chosen)
    except ValueError as error:
        raise usage_error(given.command, f"{chosen!r} is no command: {error}") from error
    if not words:
        raise usage_error(given.command, "the editor's command is empty")
    return words


def _run(command: list[str]) -> None:
    try:
        code = subprocess.run(command, check=False).returncode
    except OSError as error:
        raise UsageError(f"can't run {command[0]}: {error.strerror}", hint="set EDITOR, or say --tool") from error
    if code != 0:
        raise SyncError(f"{command[0]} ended with {code}; nothing was resolved", hint=_HINT)
