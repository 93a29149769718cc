"""Answers that come from something that is no S3 server, or from another region."""

from __future__ import annotations

import pytest
from answers import Answer, AnswerServer, s3_error

from claude_syncd.errors import StoreError, StoreRefused, StoreUnavailable
from claude_syncd.store.options import S3Options
from claude_syncd.store.s3 import S3Store

PAGE = b"<html><body>Please log in to the network.</body></html>"


@pytest.mark.parametrize("page", [PAGE, b"<x/>"])
async def test_a_page_is_neither_an_empty_listing_nor_a_stored_object(page: bytes) -> None:
    async with AnswerServer() as server:
        server.answers.append(Answer(200, page, {"Content-Type": "text/html"}))
        store = S3Store(S3Options("b", endpoint=server.endpoint, access_key_id="AK", secret_access_key="s"))
        with pytest.raises(StoreUnavailable, match="not one of S3"):
            await store.list("devices/")
        with pytest.raises(StoreUnavailable, match="not one of S3"):
            await store.put("vault.json", b"x")
        await store.close()


@pytest.mark.parametrize(
    ("answer", "kind", "part"),
    [
        (s3_error(301, "PermanentRedirect"), StoreRefused, "in another region"),
        (s3_error(301, "PermanentRedirect", {"x-amz-bucket-region": "eu-west-1"}), StoreRefused, "in another region"),
        (Answer(302, PAGE), StoreUnavailable, "sends us elsewhere"),
        (Answer(307, b""), StoreUnavailable, "sends us elsewhere"),
    ],
)
async def test_a_redirection_is_followed_by_a_question_or_two_at_most(
    answer: Answer, kind: type[StoreError], part: str
) -> None:
    async with AnswerServer() as server:
        server.answers.append(answer)
        store = S3Store(S3Options("b", endpoint=server.endpoint, access_key_id="AK", secret_access_key="s"))
        for call in (store.get("vault.json"), store.list(""), store.put("vault.json", b"x")):
            server.requests.clear()
            with pytest.raises(kind, match=part):
                await call
            assert 1 <= len(server.requests) <= 2
            assert {request.method for request in server.requests} <= {"GET", "PUT"}
        await store.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_login_page_does_not_pass_for_an_upload(status: int) -> None:
    async with AnswerServer() as portal, AnswerServer() as server:
        portal.answers.append(Answer(200, PAGE))
        server.answers.append(Answer(status, PAGE, {"Location": f"{portal.endpoint}/login"}))
        store = S3Store(S3Options("b", endpoint=server.endpoint, access_key_id="AK", secret_access_key="s"))
        with pytest.raises(StoreUnavailable, match="sends us elsewhere"):
            await store.put("vault.json", b"x")
        with pytest.raises(StoreUnavailable, match="sends us elsewhere"):
            await store.delete("vault.json")
        assert not any("authorization" in request.headers for request in portal.requests)
        await store.close()


async def test_a_name_that_nobody_knows() -> None:
    store = S3Store(S3Options("b", endpoint="http://nowhere.invalid", access_key_id="AK", secret_access_key="s"))
    with pytest.raises(StoreUnavailable, match="the server's name is not known"):
        await store.get("vault.json")
    await store.close()
