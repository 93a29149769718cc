"""The wizard's part about the store: provider, what that one needs, a test for real, and what to do when it fails."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from claude_syncd.ctl import credentials, providers, store_choice
from claude_syncd.ctl.credentials import Credentials
from claude_syncd.ctl.providers import AWS, PROVIDERS
from claude_syncd.ctl.store_choice import Choice
from claude_syncd.ctl.terminal import line
from claude_syncd.errors import ConfigError, LocalError, NoSuchPlace, StoreError, UsageError, VaultError

if TYPE_CHECKING:
    from collections.abc import Callable

    from claude_syncd.ctl.setting_up import Found, SettingUp
    from claude_syncd.ctl.wizard_questions import Questions
    from claude_syncd.local.home import Places

_ACCESS = "access"
_AGAIN, _OTHER, _END = "again", "other", "end"
_CORRECTABLE = (UsageError, ConfigError, LocalError, StoreError, VaultError)

_OPTIONS = {
    "access_key_id": "--access-key-id",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "credentials_file": "--credentials-file",
    "ca_bundle": "--ca-bundle",
}

# What an error most likely is about, looked for in its words and its hint, in this order.
_BLAME = (
    (("clock",), _AGAIN),
    (("other things", "prefix"), "prefix"),
    (("region",), "region"),
    (("no such bucket", "bucket's name", "of that name"), "bucket"),
    (("key", "credential", "password", "token", "permission", "sign in", "profile"), _ACCESS),
    (("certificate", "ca_bundle"), "ca_bundle"),
    (("endpoint", "server's name", "not one of S3"), "endpoint"),
    (("url", "repository", "host"), "url"),
    (("folder",), "path"),
)


def chosen(questions: Questions, places: Places) -> Choice:
    """Have the user choose a provider and answer what it needs."""
    name = questions.choose(
        "Where should the vault be?", [(provider.name, provider.title) for provider in PROVIDERS], default="folder"
    )
    provider = providers.find(name)
    told = {
        key: providers.check(provider, key, places)(text)
        for key in provider.optional
        if key not in (*provider.asked, "path_style") and (text := store_choice.from_environment(provider, key))
    }
    return Choice(provider, told, asked=True)


def completed(choice: Choice, questions: Questions, places: Places) -> None:
    """Ask for what is lacking: all that the provider's part of the wizard has, or only what is needed if the user gave
    the rest as options.
    """
    keys = choice.provider.asked if choice.asked else choice.missing()
    for key in keys:
        if key not in choice.values:
            _ask(choice, key, questions, places)
    own_server = choice.provider.kind == "s3" and choice.provider is not AWS
    if choice.access is None and (choice.asked or own_server):
        _ask_access(choice, questions)


def tested(
    choice: Choice, questions: Questions, setup: SettingUp, places: Places, *, create: bool, also: bool
) -> tuple[Choice, Found]:
    """Try the store until it works or the user gives up. Raises what was wrong if nobody was asked for anything.

    `also`: it is to mirror another.
    """
    from claude_syncd import config  # noqa: PLC0415 - heavy

    make = create
    while True:
        try:
            completed(choice, questions, places)
            if questions.asked:
                questions.tell("trying it ...")
            options = config.store_settings(choice.section(), places.state, also=also)
            found = setup.look(options, make=make, region=choice.region)
        except NoSuchPlace as error:
            if not questions.asked:
                raise
            questions.tell(f"{line(str(error))}.")
            make = _offer_to_make(choice, questions, places)
            if make:
                continue
            choice = corrected(choice, error, questions, places)
        except _CORRECTABLE as error:
            if not questions.asked:
                raise
            questions.tell(f"error: {line(str(error))}")
            if error.hint:
                questions.tell(f"hint: {line(for_setting_up(error.hint))}")
            make = create
            choice = corrected(choice, error, questions, places)
        else:
            return choice, found


def corrected(choice: Choice, error: Exception, questions: Questions, places: Places) -> Choice:
    """Have the user correct an answer, choose another provider, or give up, which raises `error`."""
    provider = choice.provider
    keys = [key for key in provider.may_give if key not in ("path_style", "username", "project_id")]
    ways = [(key, f"correct: {_shown(choice, key)}") for key in keys if key in choice.values or key in provider.asked]
    if provider.credentials:
        ways.append((_ACCESS, "sign in differently"))
    ways.append((_AGAIN, "try again as it is"))
    ways += [(key, f"set: {_shown(choice, key)}") for key in keys if key not in dict(ways)]
    ways += [(_OTHER, "choose another provider"), (_END, "give up")]
    way = questions.choose("What now?", ways, default=_blamed(error, [way for way, _ in ways]))
    if way == _END:
        raise error
    if way == _OTHER:
        return chosen(questions, places)
    if way == _ACCESS:
        choice.access = None
        _ask_access(choice, questions)
    elif way != _AGAIN:
        _ask(choice, way, questions, places)
    return choice


def for_setting_up(hint: str) -> str:
    """A store's hint, which names settings, in the words of who has no config.toml yet."""
    hint = hint.replace(" in config.toml", "")
    for setting, option in _OPTIONS.items():
        hint = hint.replace(setting, option)
    return hint


def _ask(choice: Choice, key: str, questions: Questions, places: Places) -> None:
    provider = choice.provider
    told = store_choice.from_environment(provider, key)
    before = choice.values.get(key) or told or provider.usual.get(key) or choice.known(key)
    check = providers.check(provider, key, places)
    optional = key in ("prefix", "ca_bundle")
    answer = questions.text(
        providers.question(provider, key), (lambda text: check(text) if text else "") if optional else check, before
    )
    if answer or key == "prefix":
        choice.values[key] = answer
    else:
        choice.values.pop(key, None)


def _ask_access(choice: Choice, questions: Questions) -> None:
    match choice.provider.credentials:
        case "s3":
            _ask_s3(choice, questions)
        case "gcs":
            _ask_gcs(choice, questions)
        case "git" if store_choice.is_http(choice.values["url"]):
            _ask_git(choice, questions)
        case "webdav":
            _ask_webdav(choice, questions)
        case _:
            choice.access = {}


def _ask_s3(choice: Choice, questions: Questions) -> None:
    ways: list[tuple[str, str]] = []
    told = credentials.from_environment()
    if told is not None:
        ways.append(("environment", f"the access key in this shell's environment ({told.access_key_id})"))
    ways += [(f"profile {name}", f"the profile {name} of ~/.aws") for name in credentials.profiles()]
    ways.append(("typed", "an access key that I type in"))
    if choice.provider is AWS:
        ways.append(("chain", "whatever AWS's own tools find (single sign-on, the machine's role)"))
    way = ways[0][0] if len(ways) == 1 else questions.choose("How does this device sign in?", ways)
    if way == "environment" and told is not None:
        choice.access = told.settings()
    elif way == "chain":
        choice.access = {}
    elif way.startswith("profile "):
        choice.access = {"profile": way.removeprefix("profile ")}
    else:
        key = questions.text("Access key id:", _needed)
        choice.access = Credentials(key, questions.secret("Secret access key:", _needed)).settings()


def _ask_gcs(choice: Choice, questions: Questions) -> None:
    if choice.values.get("endpoint"):  # an emulator
        choice.access = {}
        return
    ways = [
        ("default", "what `gcloud auth application-default login` left here, or this machine's account"),
        ("file", "a service account's key file (JSON)"),
    ]
    if questions.choose("How does this device sign in?", ways) == "default":
        choice.access = {}
    else:
        file = questions.text("Where is the key file?", lambda text: str(credentials.readable(text)))
        choice.access = {"credentials_file": file}


def _ask_git(choice: Choice, questions: Questions) -> None:
    ways = [
        ("helper", "git signs in by itself (a credential helper, or it is public)"),
        ("token", "a token or password that I type in"),
    ]
    if questions.choose("How does this device sign in?", ways) == "helper":
        choice.access = {}
    else:
        user = questions.text("User name (many hosts take any, with a token):", _needed, "git")
        choice.access = {"username": user, "password": questions.secret("Token or password:", _needed)}


def _ask_webdav(choice: Choice, questions: Questions) -> None:
    ways = [("password", "user name and password"), ("token", "a bearer token"), ("nothing", "it asks nobody")]
    way = questions.choose("How does this device sign in?", ways)
    if way == "password":
        user = questions.text("User name:", _needed)
        secret = questions.secret("Password (Nextcloud: one made for apps):", _needed)
        choice.access = {"username": user, "password": secret}
    else:
        choice.access = {"token": questions.secret("Token:", _needed)} if way == "token" else {}


def _offer_to_make(choice: Choice, questions: Questions, places: Places) -> bool:
    what = {"folder": "the folder", "git": "the repository"}.get(choice.provider.kind, "the bucket")
    if choice.provider.kind == "git" and store_choice.is_http(choice.values["url"]):
        return False
    if not questions.agreed(f"Make {what}?"):
        return False
    if choice.provider.kind == "gcs":
        region = providers.check(choice.provider, "region", places)
        choice.values["region"] = questions.text("Where?", region, choice.region or "us-central1")
        if "project_id" not in choice.values:
            project = providers.check(choice.provider, "project_id", places)
            default = _project_of(choice)
            choice.values["project_id"] = questions.text("In which project of Google Cloud's?", project, default)
    return True


def _project_of(choice: Choice) -> str:
    """The project that the service account belongs to, if its key says so."""
    import json  # noqa: PLC0415 - only here

    try:
        text = Path((choice.access or {})["credentials_file"]).read_text(encoding="utf-8")
        return str(json.loads(text)["project_id"])
    except (KeyError, TypeError, ValueError, OSError):
        return os.environ.get("GOOGLE_CLOUD_PROJECT", "")


def _blamed(error: Exception, ways: list[str]) -> str:
    words = f"{error} {getattr(error, 'hint', '')}".lower()
    for parts, way in _BLAME:
        if way in ways and any(part.lower() in words for part in parts):
            return way
    return _AGAIN


def _shown(choice: Choice, key: str) -> str:
    value = choice.values.get(key)
    name = "url" if key == "url" else key.replace("_", " ")
    return f"{name} ({line(str(value))})" if value else name


def _needed(text: str) -> str:
    if not text:
        raise UsageError("something is needed here")
    return text


def asker(questions: Questions | None) -> Callable[[str], str] | None:
    """What asks for a secret that goes with an option."""
    return (lambda question: questions.secret(question, _needed)) if questions is not None else None
