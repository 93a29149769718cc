"""What git and its hosts say, and what it means."""

from __future__ import annotations

import pytest

from claude_syncd.errors import StoreError, StoreRefused, StoreUnavailable
from claude_syncd.store.git_errors import MirrorBroken, arrived, local_failure, suspect, translate
from claude_syncd.store.git_run import Done
from claude_syncd.store.git_url import parse_remote

SAID = [
    # What GitHub, GitLab, Gitea, OpenSSH, curl and git itself say.
    ("ERROR: Repository not found.\nfatal: Could not read from remote repository.", StoreRefused, "no such repository"),
    ("remote: The project you were looking for could not be found", StoreRefused, "no such repository"),
    ("fatal: https://h/x/info/refs not valid: is this a git repository?", StoreUnavailable, "not one of git"),
    ("!\tx:refs/heads/b\t[remote rejected] (branch is currently checked out)", StoreRefused, "does not take"),
    ("ERROR: The key you are authenticating with has been marked as read only.", StoreRefused, "write is denied"),
    ("ERROR: Permission to a/b.git denied to deploy key", StoreRefused, "write is denied"),
    (
        "remote: Write access to repository not granted.\nfatal: unable to access 'u': ... returned error: 403",
        StoreRefused,
        "write is denied",
    ),
    ("remote: This repository was archived so it is read-only.", StoreRefused, "archived"),
    ("git@github.com: Permission denied (publickey).", StoreRefused, "no key"),
    ("Host key verification failed.", StoreRefused, "host's key"),
    ("remote: error: GH001: Large files detected.", StoreRefused, "too large"),
    ("remote: fatal: pack exceeds maximum allowed size", StoreRefused, "too large"),
    ("remote: Repository has exceeded its size limit", StoreRefused, "too large"),
    ("error: RPC failed; HTTP 413 curl 22 The requested URL returned error: 413", StoreRefused, "too large"),
    ("remote: error: GH006: Protected branch update failed", StoreRefused, "does not take"),
    ("!\tx:refs/heads/b\t[remote rejected] (pre-receive hook declined)", StoreRefused, "does not take"),
    ("!\tx:refs/heads/b\t[remote rejected] (protected branch hook declined)", StoreRefused, "does not take"),
    ("fatal: unable to access 'u': Could not resolve host: nowhere", StoreUnavailable, "name is not known"),
    ("ssh: Could not resolve hostname nowhere: Name or service not known", StoreUnavailable, "name is not known"),
    ("ssh: connect to host h port 22: Connection timed out", StoreUnavailable, "no connection"),
    ("ssh: connect to host h port 22: No route to host", StoreUnavailable, "no connection"),
    ("fatal: unable to access 'u': gnutls_handshake() failed", StoreUnavailable, "no trusted connection"),
    ("fatal: unable to access 'u': Received HTTP code 407 from proxy after CONNECT", StoreRefused, "proxy"),
    ("kex_exchange_identification: Connection closed by remote host", StoreUnavailable, "connection broke"),
    ("error: RPC failed; curl 18 transfer closed\nfatal: early EOF", StoreUnavailable, "connection broke"),
    ("fatal: the remote end hung up unexpectedly", StoreUnavailable, "connection broke"),
    ("remote: fatal: write error: No space left on device", StoreUnavailable, "disk is full"),
    ("remote: error: insufficient permission for adding an object", StoreRefused, "permission denied"),
    ("fatal: unable to create thread: Resource temporarily unavailable", StoreUnavailable, "git failed"),
    ("remote: fatal: loose object 12 (stored in x) is corrupt", StoreRefused, "damaged"),
    ("", StoreUnavailable, "git failed"),
]


@pytest.mark.parametrize(("said", "kind", "words"), SAID)
def test_what_hosts_say_has_a_meaning(said: str, kind: type[StoreError], words: str) -> None:
    for url in ("https://host/x", "git@host:x"):
        error = translate(Done(128, b"", said), parse_remote(url), "address")
        assert type(error) is kind
        assert str(error).startswith("address: ")
        assert words in str(error)
        assert error.hint


def test_only_gits_own_words_are_shown_and_without_secrets() -> None:
    said = (
        "remote: server\n"
        "fatal: unable to access 'https://me:s3cret@host/x/': \x1b[31m\x07Could not resolve host: h\n"
        "server"
    )
    error = str(translate(Done(128, b"", said), parse_remote("https://host/x"), "address"))
    assert (
        error
        == "address: the host's name is not known (unable to access 'https://host/x/': [31mCould not resolve host: h)"
    )
    long = translate(Done(128, b"", f"fatal: {'x' * 999}"), parse_remote("https://host/x"), "address")
    assert len(str(long)) < 250


def test_what_did_not_arrive_is_no_request() -> None:
    assert not arrived(Done(128, b"", "ssh: connect to host h port 22: Connection refused"))
    assert arrived(Done(128, b"", "fatal: Authentication failed for 'u'"))
    assert arrived(Done(-15, b"", "ssh: connect to host h port 22: Connection refused", silent=True))


def test_only_what_has_no_other_reason_makes_the_mirror_suspect() -> None:
    assert suspect(Done(128, b"", ""))
    assert suspect(Done(128, b"", "fatal: bad object 12"))
    assert not suspect(Done(128, b"", "fatal: Authentication failed for 'u'"))
    assert not suspect(Done(-15, b"", "", silent=True))


def test_a_failure_in_the_mirror_is_the_disks_or_its_own() -> None:
    assert type(local_failure(Done(128, b"", "fatal: write error: No space left on device"))) is StoreUnavailable
    assert type(local_failure(Done(128, b"", "error: unable to write: Read-only file system"))) is StoreRefused
    assert type(local_failure(Done(128, b"", "fatal: not a tree object"))) is MirrorBroken
    assert type(local_failure(Done(-11, b"", ""))) is MirrorBroken
    assert type(local_failure(Done(-9, b"", ""))) is StoreUnavailable
    assert type(local_failure(Done(-15, b"", "", silent=True))) is StoreUnavailable
