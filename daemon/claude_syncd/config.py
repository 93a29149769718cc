"""Where the settings come from: `config.toml` in the state folder, and over it `CLAUDE_SYNC_*` from the environment.

`CLAUDE_SYNC_STORE__REGION` is `region` in `[store]`, `CLAUDE_SYNC_ALSO__0__REGION` that in the first `[[also]]`.
A list in the environment is JSON or separated by commas.
Everything wrong is one ConfigError that has a line for each mistake and names the key and where it stands.
"""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import MISSING, fields, is_dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
import tomli_w

from claude_syncd.errors import ConfigError, LocalError
from claude_syncd.local import keychain
from claude_syncd.local.private_file import write_private
from claude_syncd.settings import Settings
from claude_syncd.store.options import (
    FolderOptions,
    GcsOptions,
    GitOptions,
    S3Options,
    StoreOptions,
    WebDavOptions,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from _typeshed import DataclassInstance

PREFIX = "CLAUDE_SYNC_"
NOT_SETTINGS = frozenset({"CLAUDE_SYNC_HOME"})
"""Variables with our prefix that are no settings."""
STORES: Mapping[str, type[StoreOptions]] = {
    "folder": FolderOptions,
    "s3": S3Options,
    "gcs": GcsOptions,
    "git": GitOptions,
    "webdav": WebDavOptions,
}
"""What `kind` in `[store]` says."""
MIRROR = "mirror.git"
"""The private repository of a git store, in the state folder; of further ones: mirror-<digest of where it is>.git."""

_MAX_FILE = 1024 * 1024
_HEADER = """\
# Settings of claude-syncd on this device; docs/operations.md explains each.
# This file may hold credentials of the store: keep it to yourself (mode 0600).
# Any setting can also come from the environment: CLAUDE_SYNC_STORE__REGION is `region` in [store].

"""

_Section = TypeVar("_Section", bound="DataclassInstance")


def load(path: Path) -> Settings:
    """The settings of the file `path` (it may be missing) and of the environment, which wins.

    Raises ConfigError, LocalError.
    """
    known = {field.name for field in fields(Settings)}
    unknown = [
        f"{name} in the environment is no setting{_did_you_mean(key, known, PREFIX)}"
        for name, (key, *_) in _variables().items()
        if key not in known
    ]
    if unknown:
        raise ConfigError("\n".join(unknown))
    decoder = _Decoder(path.parent, path)
    settings = decoder.section(Settings, _overlaid(read(path)), ())
    if settings is None or decoder.problems:
        raise ConfigError("\n".join(decoder.problems))
    return settings


def store_settings(section: Mapping[str, object], state: Path, *, also: bool = False) -> StoreOptions:
    """The `[store]` section `section` (one of `[[also]]`) as settings of the state folder `state`; None in it means not
    set. Raises ConfigError.
    """
    decoder = _Decoder(state)
    told = {key: value for key, value in section.items() if value is not None}
    options = decoder.store(told, ("also" if also else "store",), also=also)
    if options is None or decoder.problems:
        raise ConfigError("\n".join(decoder.problems))
    return options


def warnings(path: Path) -> tuple[str, ...]:
    """What is allowed but unwise about the file `path`, one line each."""
    try:
        mode = path.stat().st_mode & 0o777
    except OSError:
        return ()
    return (f"{path} has mode {mode:04o}; others may read it: chmod 600 {path}",) if mode & 0o077 else ()


def keychain_items(path: Path) -> tuple[str, ...]:
    """The items of the keychain that the file `path` names; none if it can't be read."""
    try:
        data = read(path)
    except (ConfigError, LocalError):
        return ()
    also = data.get("also")
    sections = [data.get("store"), *(also if isinstance(also, list) else ())]
    items = [section.get("keychain") for section in sections if isinstance(section, dict)]
    return tuple(item for item in items if isinstance(item, str))


def write_config(path: Path, data: Mapping[str, object]) -> None:
    """Write `data` as `config.toml` at `path`, 0600, whole or not at all; None is left out. Raises LocalError."""
    write_private(path, (_HEADER + tomli_w.dumps(_without_none(data))).encode())


def _without_none(data: Mapping[str, object]) -> dict[str, object]:
    def kept(value: object) -> object:
        if isinstance(value, list):
            return [kept(one) for one in value]
        return _without_none(value) if isinstance(value, dict) else value

    return {key: kept(value) for key, value in data.items() if value is not None}


def read(path: Path) -> dict[str, Any]:
    """What the file `path` says, as it stands there. Raises ConfigError, LocalError."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise LocalError(f"can't read {path}: {error.strerror}") from error
    if len(data) > _MAX_FILE:
        raise ConfigError(f"{path} is larger than 1 MiB")
    try:
        return tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None


def _variables() -> dict[str, tuple[str, ...]]:
    """The variables with our prefix, and the key that each one names."""
    return {
        name: tuple(name[len(PREFIX) :].lower().split("__"))
        for name in sorted(os.environ)
        if name.upper().startswith(PREFIX) and name.upper() not in NOT_SETTINGS
    }


def _overlaid(written: dict[str, Any]) -> dict[str, Any]:
    """What is written in the file with the environment's values over it."""
    for name, (*sections, key) in _variables().items():
        place = written
        for section in sections:
            inner = place.get(section)
            if isinstance(inner, list):  # its tables by their numbers
                inner = {str(number): one for number, one in enumerate(inner)}
            place[section] = place = inner if isinstance(inner, dict) else {}
        place[key] = os.environ[name]
    return written


class _Decoder:
    """Raw values to sections; what is wrong gathers in `problems`, a line each, free of the values themselves."""

    def __init__(self, state: Path, path: Path | None = None) -> None:
        """`state`: the state folder. `path`: of the file that the values come from, to name it."""
        self._state = state
        self._path = path
        self._variables = {key: name for name, key in _variables().items()} if path is not None else {}
        self.problems: list[str] = []

    def section(self, kind: type[_Section], raw: Mapping[str, object], at: tuple[str, ...]) -> _Section | None:
        """A section of that kind; None when something in it is wrong."""
        before = len(self.problems)
        hints = _hints(kind)
        for key in raw.keys() - hints.keys():
            self._say((*at, key), f"there is no such setting{_did_you_mean(key, hints)}")
        values = {}
        for field in fields(kind):
            if field.name in raw:
                values[field.name] = self._value(hints[field.name], raw[field.name], (*at, field.name))
            elif field.default is MISSING:
                self._say((*at, field.name), "is missing")
        if len(self.problems) > before:
            return None
        try:
            return kind(**values)
        except ConfigError as error:
            self._say(at, str(error))
            return None

    def store(self, raw: object, at: tuple[str, ...], *, also: bool = False) -> StoreOptions | None:
        """A store's section, of the kind that it names; `also`: one of those that mirror the first."""
        named = dict(raw) if isinstance(raw, dict) else {}
        kind = named.pop("kind", None)
        if not isinstance(kind, str) or kind not in STORES:
            self._say(at, f"kind must be {_one_of(STORES)}")
            return None
        if kind == "git":
            named.setdefault("mirror", str(self._state / (_mirror_of(named) if also else MIRROR)))
        if "keychain" in named:
            item = named.pop("keychain")
            if not isinstance(item, str):
                self._say((*at, "keychain"), "must be the name of an item")
                return None
            # What the file or the environment says itself, counts.
            named = {**keychain.read(item), **named}
        return self.section(STORES[kind], named, at)

    def _value(self, kind: Any, value: object, at: tuple[str, ...]) -> object:
        if kind == StoreOptions | None:
            return self.store(value, at)
        if kind == tuple[StoreOptions, ...]:
            return self._stores(value, at)
        if isinstance(kind, type) and is_dataclass(kind):
            if isinstance(value, dict):
                return self.section(kind, value, at)
            self._say(at, "must be a section with settings of its own")
            return None
        if get_origin(kind) is Literal and value not in get_args(kind):
            self._say(at, f"must be {_one_of(get_args(kind))}")
            return None
        try:
            if get_origin(kind) is tuple and isinstance(value, str):
                value = _listed(value)
            # What comes from the environment is text, whatever it means.
            strict = at not in self._variables
            return msgspec.convert(value, kind, strict=strict, dec_hook=_folder)  # noqa: TID251 - one thread, no structs
        except (msgspec.ValidationError, ValueError) as error:
            self._say(at, str(error).partition(" - at `$")[0])
            return None

    def _stores(self, value: object, at: tuple[str, ...]) -> tuple[StoreOptions, ...]:
        """An array of tables, or what the environment has put in its place: tables by their numbers, from 0."""
        if isinstance(value, dict):
            known = sorted(value, key=lambda key: (len(key), key))
            if known != [str(number) for number in range(len(known))]:
                self._say(at, "its tables are numbered from 0, without gaps")
                return ()
            value = [value[key] for key in known]
        if not isinstance(value, list):
            self._say(at, "must be tables: [[also]]")
            return ()
        found = [self.store(one, (*at, str(number)), also=True) for number, one in enumerate(value)]
        return tuple(one for one in found if one is not None)

    def _say(self, at: tuple[str, ...], what: str) -> None:
        name = self._variables.get(at)
        what = f"{what[:1].lower()}{what[1:]}"
        if name is not None:
            self.problems.append(f"{name} in the environment: {what}")
        elif self._path is not None:
            self.problems.append(f"{'.'.join(at)} in {self._path}: {what}")
        else:
            self.problems.append(f"{'.'.join(at)}: {what}")


def _mirror_of(section: Mapping[str, object]) -> str:
    """The name of the private repository for what a section of a further git store says."""
    where = f"{section.get('url')} {section.get('branch')} {section.get('prefix')}"
    return f"mirror-{sha256(where.encode()).hexdigest()[:12]}.git"


def _hints(section: type) -> dict[str, Any]:
    return get_type_hints(section, include_extras=True)


def _listed(value: str) -> list[object]:
    """A list as it comes from the environment: JSON, or separated by commas."""
    if value.lstrip().startswith("["):
        try:
            found = json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"is neither a JSON list nor words separated by commas: {error}") from None
        return list(found)
    return [part.strip() for part in value.split(",") if part.strip()]


def _folder(kind: type, value: object) -> Path:
    """A path: `~` means the user's home; a daemon has no folder that a relative path could start from."""
    if kind is not Path or not isinstance(value, str):
        raise ValueError("must be a path")
    path = Path(value).expanduser()
    if not path.is_absolute():
        raise ValueError("must be an absolute path (or begin with ~)")
    return path


def _one_of(words: Iterable[str]) -> str:
    *some, last = (f'"{word}"' for word in words)
    return f"{', '.join(some)} or {last}"


def _did_you_mean(word: str, known: Iterable[str], prefix: str = "") -> str:
    import difflib  # noqa: PLC0415 - only here, for a mistake

    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    if not close:
        return ""
    return f"; did you mean {prefix}{close[0].upper()}?" if prefix else f"; did you mean {close[0]!r}?"
