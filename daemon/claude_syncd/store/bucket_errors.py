"""What a bucket's server says and only its adapter acts on; none of these leaves it as it is."""

from __future__ import annotations

from claude_syncd.errors import StoreError, StoreRefused, StoreUnavailable


class BeyondEnd(StoreError):
    """The range begins after the object's end."""


class NoConditions(StoreRefused):
    """The server says that it does not do what the request asks for."""


class NotThere(StoreRefused):
    """The bucket or the object is not there, and the server does not say which."""


class OutOfOrder(StoreUnavailable):
    """The server says that something went wrong within it (500)."""
