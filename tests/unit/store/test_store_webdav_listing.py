"""What servers say about a folder, friendly and hostile ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webdav_answers import OK, file, folder, multistatus

from claude_syncd.store import webdav_listing
from claude_syncd.store.webdav_listing import Elsewhere, Incomplete, Listing, Member, NotUnderstood

BASE = "/dav/p"


def read(body: bytes, path: str = BASE) -> Listing:
    listing = Listing(path)
    listing.feed(body)
    listing.end()
    return listing


def members(*responses: str, path: str = BASE) -> dict[str, Member]:
    return read(multistatus(folder(path), *responses).body, path).members


A = Member(is_folder=False, size=3, modified=None)


def test_a_listing_in_the_words_of_nextcloud() -> None:
    body = b"""<?xml version="1.0"?>
<d:multistatus xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns" xmlns:oc="http://owncloud.org/ns">
 <d:response><d:href>/remote.php/dav/files/ann/v/</d:href>
  <d:propstat><d:prop><d:resourcetype><d:collection/></d:resourcetype>
   <d:getlastmodified>Fri, 21 Nov 2025 08:00:00 GMT</d:getlastmodified></d:prop>
   <d:status>HTTP/1.1 200 OK</d:status></d:propstat>
  <d:propstat><d:prop><d:getcontentlength/></d:prop><d:status>HTTP/1.1 404 Not Found</d:status></d:propstat>
 </d:response>
 <d:response><d:href>/remote.php/dav/files/ann/v/vault.json</d:href>
  <d:propstat><d:prop><d:resourcetype/><d:getcontentlength>412</d:getcontentlength>
   <d:getlastmodified>Thu, 01 Jan 1970 00:01:40 GMT</d:getlastmodified></d:prop>
   <d:status>HTTP/1.1 200 OK</d:status></d:propstat>
 </d:response></d:multistatus>"""
    listing = read(body, "/remote.php/dav/files/ann/v/")
    assert listing.is_folder
    assert listing.members == {"vault.json": Member(is_folder=False, size=412, modified=100.0)}


def test_a_listing_in_the_words_of_apache() -> None:
    body = b"""<?xml version="1.0" encoding="utf-8"?>
<D:multistatus xmlns:D="DAV:" xmlns:ns0="DAV:">
<D:response xmlns:lp1="DAV:" xmlns:lp2="http://apache.org/dav/props/"><D:href>/dav/p/</D:href>
<D:propstat><D:prop><lp1:resourcetype><D:collection/></lp1:resourcetype></D:prop>
<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>
<D:response xmlns:lp1="DAV:"><D:href>/dav/p/roster/</D:href><D:propstat>
<D:prop><lp1:resourcetype><D:collection/></lp1:resourcetype><lp1:getcontentlength>4096</lp1:getcontentlength></D:prop>
<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>"""
    assert read(body).members == {"roster": Member(is_folder=True, size=0, modified=None)}


@pytest.mark.parametrize(
    "href",
    [
        "/dav/p/a.b-c_d",
        "/dav/p/a.b-c_d/",
        "/d%61v/p/a%2Eb%2dc%5Fd",
        "http://other.example:8080/dav/p/a.b-c_d",
        "//other.example/dav/p/a.b-c_d?x=1#y",
        "\n   /dav/p/a.b-c_d\n  ",
        "/dav/p/<![CDATA[a.b-c_d]]>",
        "/dav/p/a&#46;b-c_d",
    ],
)
def test_a_name_is_the_same_however_it_is_written(href: str) -> None:
    assert members(file(href)) == {"a.b-c_d": A}


@pytest.mark.parametrize(
    "href",
    [
        *("/dav/p/../a", "/dav/p/..", "/dav/p/.", "/dav/p/./a", "/dav/p/%2e%2e", "/dav/p/%2e%2e%2fa", "/dav/p/a%2Fb"),
        *("/dav/p/a/b", "/dav/p/a/b/", "/dav/p//a", "/dav/pa", "/dav/", "/", "", "/etc/passwd", "a", "p/a", "../a"),
        *("/dav/p/a b", "/dav/p/%C3%A4", "/dav/p/%FF", "/dav/p/a%00", "/dav/p/a%5Cb", f"/dav/p/{'a' * 201}"),
    ],
)
def test_what_is_no_member_or_no_object_is_left_out(href: str) -> None:
    assert members(file(href), file("/dav/p/b")) == {"b": A}


@pytest.mark.parametrize("path", ["/dav/p", "/dav/p/", "/d%61v/p/", "http://x.example/dav/p", "\n/dav/p/ "])
def test_the_folder_itself_is_no_member(path: str) -> None:
    assert read(multistatus(folder(path), file("/dav/p/a")).body).members == {"a": A}


def test_a_folder_with_a_name_that_is_encoded() -> None:
    assert members(file("/caf%C3%A9/a%20b/c"), path="/café/a b") == {"c": A}


@pytest.mark.parametrize("responses", [[], [file("/dav/p/a")], [folder("/internal/p/"), file("/internal/p/a")]])
def test_a_listing_of_another_folder_is_an_error(responses: list[str]) -> None:
    with pytest.raises(Elsewhere):
        read(multistatus(*responses).body)


def response(href: str, inside: str) -> str:
    return f"<response><href>{href}</href>{inside}</response>"


@pytest.mark.parametrize(
    "wrong",
    [
        response("/dav/p/a", "<status>HTTP/1.1 403 Forbidden</status>"),
        response("/dav/p/", "<status>HTTP/1.1 507 Insufficient Storage</status>"),
        response("/dav/p/a", OK.format("<resourcetype/>")),
        response("/dav/p/a", OK.format("<resourcetype/><getcontentlength>many</getcontentlength>")),
        response("/dav/p/a", OK.format("<resourcetype/><getcontentlength>-1</getcontentlength>")),
        response("/dav/p/a", OK.replace("200", "500").format("<getcontentlength>3</getcontentlength>")),
    ],
)
def test_what_the_server_could_not_tell_makes_the_listing_incomplete(wrong: str) -> None:
    with pytest.raises(Incomplete):
        members(wrong)


BOMB = b"""<?xml version="1.0"?><!DOCTYPE multistatus [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;">]>
<multistatus xmlns="DAV:"><response><href>&d;</href></response></multistatus>"""
OUTSIDE = b"""<?xml version="1.0"?><!DOCTYPE multistatus [<!ENTITY a SYSTEM "file:///etc/passwd">]>
<multistatus xmlns="DAV:"><response><href>&a;</href></response></multistatus>"""


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"<html><body>Welcome", b"<html/>", b"{}", b"\x00\xff", BOMB, OUTSIDE),
        b'<!DOCTYPE html><multistatus xmlns="DAV:"/>',
        b'<multistatus xmlns="DAV:">',
        b"<multistatus/>",
        b'<multistatus xmlns="DAV:"><response></multistatus>',
        b'<multistatus xmlns="DAV:">' + b"<x>" * 40,
        b'<multistatus xmlns="DAV:">&undeclared;</multistatus>',
        multistatus(folder(BASE)).body + b"<more/>",
        multistatus(folder(BASE)).body[:-3],
        multistatus(folder(BASE), response("/dav/p/a", "<propstat><prop/></propstat>")).body,
        multistatus(folder(BASE), response("/dav/p/a", "<status>fine</status>")).body,
        multistatus(folder("http://[dav/p")).body,
        multistatus(file(f"/dav/{'x' * 20_000}")).body,
    ],
)
def test_what_is_no_listing_is_not_taken_for_one(body: bytes) -> None:
    with pytest.raises(NotUnderstood):
        read(body)


def test_the_number_of_members_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webdav_listing, "MANY_MEMBERS", 3)
    assert len(members(*(file(f"/dav/p/{n}") for n in range(3)))) == 3
    with pytest.raises(NotUnderstood, match="too many"):
        members(*(file(f"/dav/p/{n}") for n in range(4)))


def test_what_belongs_to_others_is_counted() -> None:
    listing = read(multistatus(folder(BASE), file("/dav/p/a b"), file("/dav/p/c")).body)
    assert (listing.others, set(listing.members)) == (1, {"c"})


@pytest.mark.parametrize("date", ["yesterday", "", "Fri, 99 Nov 2025 08:00:00 GMT", "Fri, 21 Nov 99999 08:00:00 GMT"])
def test_a_date_that_is_none_is_none(date: str) -> None:
    assert members(file("/dav/p/a", modified=date)) == {"a": A}


@given(st.integers(1, 60), st.lists(st.sampled_from("abcXYZ019._-"), min_size=1, max_size=8))
def test_it_does_not_matter_in_which_pieces_it_comes(step: int, letters: list[str]) -> None:
    name = f"n{''.join(letters)}"
    body = multistatus(folder(f"{BASE}/"), file(f"{BASE}/{name}"), folder(f"{BASE}/{name}-folder/")).body
    listing = Listing(BASE)
    for start in range(0, len(body), step):
        listing.feed(body[start : start + step])
    listing.end()
    assert listing.members == {name: A, f"{name}-folder": Member(is_folder=True, size=0, modified=None)}


@given(st.binary(max_size=300))
def test_no_answer_does_anything_else_than_to_fail(body: bytes) -> None:
    with pytest.raises((NotUnderstood, Incomplete, Elsewhere)):
        read(b'<multistatus xmlns="DAV:">' + body)
