"""The service files' templates, filled in. Pure but for reading the template."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from claude_syncd.errors import LocalError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

UNIT = "claude-syncd.service"
LABEL = "com.claude-syncd.agent"

_PACKAGE = Path(__file__).resolve().parents[1]
# In an installed package, or in the source tree that an editable install points to.
_FOLDERS = (_PACKAGE / "service_files", _PACKAGE.parents[1] / "service-files")


def systemd_unit(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """The user unit that runs `command` (the first word an absolute path) with `environment` added."""
    # The colon: no variables are substituted in what follows.
    start = ":" + " ".join(_systemd_quoted(word) for word in command)
    lines = "\n".join(f"Environment={_systemd_quoted(f'{key}={value}')}" for key, value in environment.items())
    return _filled(f"{UNIT}.in", {"EXEC": start, "ENVIRONMENT": lines or "# Environment="})


def launchd_plist(command: Sequence[str], environment: Mapping[str, str], output: str) -> str:
    """The agent that runs `command` with `environment` added; what it prints goes to the file `output`."""
    arguments = "\n".join(f"\t\t<string>{_xml(word)}</string>" for word in command)
    pairs = "\n".join(
        f"\t\t<key>{_xml(key)}</key>\n\t\t<string>{_xml(value)}</string>" for key, value in environment.items()
    )
    return _filled(f"{LABEL}.plist.in", {"ARGUMENTS": arguments, "ENVIRONMENT": pairs, "OUTPUT": _xml(output)})


def _filled(name: str, values: Mapping[str, str]) -> str:
    for folder in _FOLDERS:
        try:
            text = (folder / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
        except OSError as error:
            raise LocalError(f"can't read {folder / name}: {error.strerror}") from error
        # One pass: a value that holds @WORD@ itself stays as it is.
        return re.sub("@([A-Z]+)@", lambda match: values[match[1]], text)
    raise LocalError(f"the template {name} is missing", hint="install claude-syncd again")


def _systemd_quoted(word: str) -> str:
    """One word in systemd's quotes, with its % and backslash meant literally."""
    return '"' + _printable(word).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def _xml(text: str) -> str:
    return escape(_printable(text))


def _printable(text: str) -> str:
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise UsageError(f"{text!r} has control characters; a service file can't hold it")
    return text
