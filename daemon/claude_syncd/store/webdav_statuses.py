"""What a WebDAV server's status says of what was asked for."""

GONE = frozenset({404, 410})
MADE = frozenset({200, 201, 204})
NO_PARENT = frozenset({404, 409})
