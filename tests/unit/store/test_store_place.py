"""The place of a vault: made where it is missing, taken back without what anybody else put there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from answers import Answer, AnswerServer
from git_place import git, new_repository
from ruled_s3 import BUCKET, RuledS3

from claude_syncd.errors import NoSuchPlace, StoreRefused
from claude_syncd.store.open import open_store
from claude_syncd.store.options import FolderOptions, GcsOptions, GitOptions, S3Options
from claude_syncd.store.place import place_of
from claude_syncd.store.place_bucket import GcsBucket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_folder_and_those_above_it_come_and_go(tmp_path: Path) -> None:
    place = place_of(FolderOptions(tmp_path / "a" / "b"))
    with pytest.raises(NoSuchPlace):
        await place.prepare()
    assert names(tmp_path) == []
    await place.make()
    assert names(tmp_path / "a" / "b") == ["tmp"]
    await place.take_back()
    assert names(tmp_path) == []


async def test_a_folder_that_was_there_stays(tmp_path: Path) -> None:
    place = place_of(FolderOptions(tmp_path / "a"))
    (tmp_path / "a").mkdir()
    await place.prepare()
    await place.take_back()
    assert names(tmp_path / "a") == []


async def test_what_another_put_there_meanwhile_stays(tmp_path: Path) -> None:
    options = FolderOptions(tmp_path / "a" / "b")
    place = place_of(options)
    await place.make()
    await open_store(options).store.put("vault.json", b"of another device")
    await place.take_back()
    assert names(tmp_path / "a" / "b") == ["vault.json"]


@pytest.fixture
def s3() -> Iterator[RuledS3]:
    server = RuledS3()
    server.start()
    yield server
    server.stop()


def s3_options(server: RuledS3, bucket: str) -> S3Options:
    return S3Options(bucket, endpoint=server.endpoint, access_key_id="AK", secret_access_key="s")


async def test_a_bucket_comes_and_goes(s3: RuledS3) -> None:
    place = place_of(s3_options(s3, "new"))
    await place.prepare()
    await place.take_back()
    await place.make()
    assert s3.buckets == {BUCKET, "new"}
    await place.take_back()
    assert s3.buckets == {BUCKET}


async def test_a_bucket_with_something_in_it_stays(s3: RuledS3) -> None:
    place = place_of(s3_options(s3, "new"))
    await place.make()
    s3.objects["vault.json"] = b"of another device"
    with pytest.raises(StoreRefused):
        await place.take_back()
    assert s3.buckets == {BUCKET, "new"}


async def test_a_bucket_that_was_ours_all_along_is_taken_as_it_is(s3: RuledS3) -> None:
    s3.refuses = {"make": (409, "BucketAlreadyOwnedByYou")}
    place = place_of(s3_options(s3, BUCKET))
    await place.make()
    await place.take_back()
    assert s3.buckets == {BUCKET}


@pytest.mark.parametrize(("region", "named"), [("us-east-1", False), ("eu-central-1", True)])
async def test_amazon_is_told_the_region_but_for_its_first(
    monkeypatch: pytest.MonkeyPatch, region: str, named: bool
) -> None:
    async with AnswerServer() as server:
        server.answers.append(Answer(200))
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.endpoint)
        options = S3Options("new-bucket", region=region, access_key_id="AK", secret_access_key="s")
        await place_of(options).make()
        (request,) = server.requests
    assert request.method == "PUT"
    assert (f"<LocationConstraint>{region}</LocationConstraint>".encode() in request.body) is named


async def test_a_bucket_of_google_is_private_and_comes_and_goes() -> None:
    async with AnswerServer() as server:
        server.answers.append(Answer(200, b"{}", {"Content-Type": "application/json"}))
        place = GcsBucket(GcsOptions("new-bucket", project_id="p1", endpoint=server.endpoint), "us-central1")
        await place.take_back()
        assert server.requests == []
        await place.make()
        await place.take_back()
        made, deleted = server.requests
    assert (made.method, made.path) == ("POST", "/storage/v1/b?project=p1")
    wanted = json.loads(made.body)
    assert (wanted["name"], wanted["location"]) == ("new-bucket", "US-CENTRAL1")
    assert wanted["iamConfiguration"]["publicAccessPrevention"] == "enforced"
    assert (deleted.method, deleted.path) == ("DELETE", "/storage/v1/b/new-bucket")


async def test_a_bucket_of_google_needs_a_project() -> None:
    async with AnswerServer() as server:
        server.answers.append(Answer(403, b"{}", {"Content-Type": "application/json"}))
        with pytest.raises(StoreRefused, match="in a project") as caught:
            await GcsBucket(GcsOptions("new-bucket", endpoint=server.endpoint), None).make()
        assert "--project-id" in caught.value.hint
        with pytest.raises(StoreRefused, match="permission denied"):
            await GcsBucket(GcsOptions("new-bucket", project_id="p1", endpoint=server.endpoint), None).make()


def git_options(tmp_path: Path, repository: Path) -> GitOptions:
    return GitOptions(url=str(repository), mirror=tmp_path / "state" / "mirror.git")


async def test_a_repository_comes_and_goes(tmp_path: Path) -> None:
    repository = tmp_path / "disk" / "vault.git"
    options = git_options(tmp_path, repository)
    place = place_of(options)
    with pytest.raises(NoSuchPlace):
        await place.prepare()
    await place.make()
    store = open_store(options).store
    await store.put("probe/x", b"x")
    await store.delete("probe/x")
    await place.take_back()
    assert not (tmp_path / "disk").exists()
    assert not options.mirror.exists()


async def test_of_a_repository_that_was_there_the_empty_branch_goes(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "vault.git")
    options = git_options(tmp_path, repository)
    place = place_of(options)
    await place.prepare()
    store = open_store(options).store
    await store.put("probe/x", b"x")
    await store.delete("probe/x")
    assert git("for-each-ref", repository=repository)
    await place.take_back()
    assert git("for-each-ref", repository=repository) == ""


async def test_a_branch_with_something_in_it_stays(tmp_path: Path) -> None:
    repository = tmp_path / "vault.git"
    options = git_options(tmp_path, repository)
    place = place_of(options)
    await place.make()
    await place.prepare()
    await open_store(options).store.put("vault.json", b"of another device")
    await place.take_back()
    assert git("show", "claude-sync:vault.json", repository=repository) == "of another device"


def commit_file(repository: Path, mode: str, name: str) -> None:
    """Somebody's own commit on the branch: one file."""
    blob = git("hash-object", "-w", "--stdin", repository=repository, feed=b"#!/bin/sh\n")
    tree = git("mktree", repository=repository, feed=f"{mode} blob {blob}\t{name}\n".encode())
    commit = git("commit-tree", "-m", "mine", tree, repository=repository)
    git("update-ref", "refs/heads/claude-sync", commit, repository=repository)


@pytest.mark.parametrize(("mode", "name"), [("100644", "README.md"), ("100755", "run.sh"), ("100644", "a b.txt")])
async def test_a_branch_that_is_somebodys_own_is_refused_and_stays(tmp_path: Path, mode: str, name: str) -> None:
    repository = new_repository(tmp_path / "vault.git")
    commit_file(repository, mode, name)
    before = git("for-each-ref", repository=repository)
    place = place_of(git_options(tmp_path, repository))
    with pytest.raises(StoreRefused, match="holds other things and no vault") as refused:
        await place.prepare()
    assert "--branch" in refused.value.hint
    await place.take_back()
    assert git("for-each-ref", repository=repository) == before


async def test_a_vault_below_a_prefix_leaves_room_for_another(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "vault.git")
    await open_store(GitOptions(url=str(repository), mirror=tmp_path / "m", prefix="one")).store.put("vault.json", b"1")
    await place_of(GitOptions(url=str(repository), mirror=tmp_path / "n", prefix="two")).prepare()


async def test_a_repository_at_a_host_is_not_made_from_here(tmp_path: Path) -> None:
    place = place_of(GitOptions(url="git@host.invalid:vault.git", mirror=tmp_path / "mirror.git"))
    with pytest.raises(NoSuchPlace, match="can't be made from here"):
        await place.make()
