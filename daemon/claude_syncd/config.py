"""Settings: `config.toml` in the state folder, and over it `CLAUDE_SYNC_*` from the environment.

`CLAUDE_SYNC_STORE__REGION` is `region` in `[store]`. A list in the environment is JSON or separated by commas.
Everything wrong is one ConfigError that has a line for each mistake and names the key and where it stands.
Only processes that sync import this module: pydantic takes its time.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import tomli_w
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from claude_syncd.errors import ConfigError, LocalError
from claude_syncd.local.private_file import write_private

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails
    from pydantic_settings import PydanticBaseSettingsSource

PREFIX = "CLAUDE_SYNC_"
NOT_SETTINGS = frozenset({"CLAUDE_SYNC_HOME"})
"""Variables with our prefix that are no settings."""

_MAX_FILE = 1024 * 1024
_HEADER = """\
# Settings of claude-syncd on this device; docs/operations.md explains each.
# This file may hold credentials of the store: keep it to yourself (mode 0600).
# Any setting can also come from the environment: CLAUDE_SYNC_STORE__REGION is `region` in [store].

"""

Seconds = Annotated[float, Field(gt=0, le=30 * 86400, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1, max_length=4096)]


def _listed(value: object) -> object:
    """A list as it comes from the environment: JSON, or separated by commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"is neither a JSON list nor words separated by commas: {error}") from None
    return [part.strip() for part in value.split(",") if part.strip()]


def _absolute(value: object) -> object:
    """`~` means the user's home; a daemon has no folder that a relative path could start from."""
    if not isinstance(value, str | Path):
        return value
    path = Path(value).expanduser()
    if not path.is_absolute():
        raise ValueError("must be an absolute path (or begin with ~)")
    return path


Folder = Annotated[Path, BeforeValidator(_absolute)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class FolderStore(_Section):
    """A folder, local or mounted."""

    kind: Literal["folder"] = "folder"
    path: Folder


class S3Store(_Section):
    """A bucket of S3, R2 or anything that speaks S3. Without keys the usual AWS chain is asked (`profile`)."""

    kind: Literal["s3"] = "s3"
    bucket: Text
    prefix: Annotated[str, Field(max_length=512)] = ""
    region: Text | None = None
    endpoint: Text | None = None
    profile: Text | None = None
    access_key_id: Text | None = None
    secret_access_key: SecretStr | None = None
    session_token: SecretStr | None = None
    path_style: bool | None = None
    ca_bundle: Folder | None = None

    @model_validator(mode="after")
    def _keys_go_together(self) -> S3Store:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key go together")
        if self.session_token is not None and self.access_key_id is None:
            raise ValueError("session_token needs access_key_id and secret_access_key")
        return self


class Debounce(_Section):
    """How long a change waits for more: seconds of quiet, and seconds at the most."""

    quiet: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = 2.0
    limit: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = 15.0

    @model_validator(mode="after")
    def _in_order(self) -> Debounce:
        if self.limit < self.quiet:
            raise ValueError("limit must not be below quiet")
        return self


class Poll(_Section):
    """How often other devices' areas are asked, in seconds."""

    active: Seconds = 5.0
    idle: Seconds = 60.0
    roster: Seconds = 60.0
    list: Seconds = 1800.0

    @model_validator(mode="after")
    def _in_order(self) -> Poll:
        if self.idle < self.active:
            raise ValueError("idle must not be below active")
        return self


class Limits(_Section):
    """Requests to the store at the same time."""

    parallel: Annotated[int, Field(ge=1, le=64)] = 8


class Scan(_Section):
    """Seconds between two full scans of the tree; hints of the kernel are only hints."""

    interval: Seconds = 3600.0


class Log(_Section):
    """What is written to the log."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(BaseSettings):
    """Every setting with its default. `store` is None where this device is not set up."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    scope: Literal["sessions", "portable", "full"] = "portable"
    include: Annotated[tuple[Text, ...], NoDecode, BeforeValidator(_listed)] = ()
    exclude: Annotated[tuple[Text, ...], NoDecode, BeforeValidator(_listed)] = ()
    follow: Annotated[tuple[Folder, ...], NoDecode, BeforeValidator(_listed)] = ()
    store: Annotated[FolderStore | S3Store, Field(discriminator="kind")] | None = None
    debounce: Debounce = Debounce()
    poll: Poll = Poll()
    limits: Limits = Limits()
    scan: Scan = Scan()
    log: Log = Log()

    @classmethod
    def settings_customise_sources(  # noqa: D102 - pydantic-settings' own hook
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - its signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - its signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - its signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings


def load(path: Path) -> Settings:
    """The settings of the file `path` (it may be missing) and of the environment, which wins.

    Raises ConfigError, LocalError.
    """
    written = _read(path)
    unknown = [_unknown_variable(name) for name in sorted(os.environ) if _is_unknown(name)]
    if unknown:
        raise ConfigError("\n".join(unknown))
    try:
        return Settings(**written)
    except ValidationError as error:
        raise ConfigError("\n".join(_explained(item, path) for item in error.errors(include_url=False))) from None
    except SettingsError as error:
        raise ConfigError(f"the environment: {error}") from None


def store_settings(section: Mapping[str, object]) -> FolderStore | S3Store:
    """The `[store]` section `section` as settings; None in it means not set. Raises ConfigError."""
    given = {key: value for key, value in section.items() if value is not None}
    model = FolderStore if given.get("kind") == "folder" else S3Store
    try:
        return model.model_validate(given)
    except ValidationError as error:
        lines = (f"store.{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_url=False))
        raise ConfigError("\n".join(lines)) from None


def warnings(path: Path) -> tuple[str, ...]:
    """What is allowed but unwise about the file `path`, one line each."""
    try:
        mode = path.stat().st_mode & 0o777
    except OSError:
        return ()
    return (f"{path} has mode {mode:04o}; others may read it: chmod 600 {path}",) if mode & 0o077 else ()


def write_config(path: Path, data: Mapping[str, object]) -> None:
    """Write `data` as `config.toml` at `path`, 0600, whole or not at all; None is left out. Raises LocalError."""
    write_private(path, (_HEADER + tomli_w.dumps(_without_none(data))).encode())


def _without_none(data: Mapping[str, object]) -> dict[str, object]:
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in data.items()
        if value is not None
    }


def _read(path: Path) -> dict[str, Any]:
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


def _is_unknown(variable: str) -> bool:
    if not variable.upper().startswith(PREFIX) or variable.upper() in NOT_SETTINGS:
        return False
    return variable[len(PREFIX) :].lower().partition("__")[0] not in Settings.model_fields


def _unknown_variable(variable: str) -> str:
    key = variable[len(PREFIX) :].lower().partition("__")[0]
    return (
        f"{variable} in the environment is no setting{_did_you_mean(key, Settings.model_fields, in_environment=True)}"
    )


def _did_you_mean(word: str, known: Mapping[str, object], *, in_environment: bool = False) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if not close:
        return ""
    return f"; did you mean {PREFIX}{close[0].upper()}?" if in_environment else f"; did you mean {close[0]!r}?"


def _explained(error: ErrorDetails, path: Path) -> str:
    """One mistake as one line: which key, where it stands, what is wrong."""
    # A union's location has the kind of store in it, which is no key.
    parts = [str(part) for part in error["loc"]]
    model = _section(parts)
    if parts[:1] == ["store"] and parts[1:2] in (["folder"], ["s3"]):
        del parts[1]
    variable = PREFIX + "__".join(parts).upper()
    where = (
        f"{variable} in the environment"
        if any(name.upper() == variable for name in os.environ)
        else f"{'.'.join(parts) or 'settings'} in {path}"
    )
    if error["type"] == "extra_forbidden":
        return f"{where}: there is no such setting{_did_you_mean(parts[-1], model.model_fields)}"
    if error["type"] in ("union_tag_not_found", "union_tag_invalid"):
        return f'{where}: kind must be "folder" or "s3"'
    if error["type"] == "missing":
        return f"{where}: is missing"
    message = error["msg"].removeprefix("Value error, ")
    return f"{where}: {message[:1].lower()}{message[1:]}"


def _section(parts: list[str]) -> type[BaseModel]:
    """The section in which the key at `parts` stands."""
    if len(parts) < 2:
        return Settings
    if parts[0] == "store":
        return S3Store if "s3" in parts[1:2] else FolderStore
    annotation = Settings.model_fields[parts[0]].annotation if parts[0] in Settings.model_fields else None
    candidates = (annotation, *get_args(annotation))
    return next((item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel)), Settings)
