"""Answers of WebDAV servers, for `AnswerServer`."""

from __future__ import annotations

from answers import Answer

XML = {"Content-Type": "application/xml; charset=utf-8"}
OK = "<propstat><status>HTTP/1.1 200 OK</status><prop>{}</prop></propstat>"


def folder(href: str) -> str:
    """What is said about a folder."""
    return f"<response><href>{href}</href>{OK.format('<resourcetype><collection/></resourcetype>')}</response>"


def file(href: str, size: int = 3, modified: str = "") -> str:
    """What is said about a file."""
    date = f"<getlastmodified>{modified}</getlastmodified>" if modified else ""
    properties = f"<resourcetype/><getcontentlength>{size}</getcontentlength>{date}"
    return f"<response><href>{href}</href>{OK.format(properties)}</response>"


def multistatus(*responses: str, headers: dict[str, str] | None = None) -> Answer:
    """An answer to PROPFIND."""
    body = f'<?xml version="1.0" encoding="utf-8"?><multistatus xmlns="DAV:">{"".join(responses)}</multistatus>'
    return Answer(207, body.encode(), {**XML, **(headers or {})})
