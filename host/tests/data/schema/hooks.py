"""Sends what the server takes beside JSON: bytes as they are drawn."""

import schemathesis


@schemathesis.serializer(
    "application/vnd.symbolon.attempts",
    "application/vnd.symbolon.session",
    "application/x-ndjson",
)
def as_it_is(ctx, value):
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else str(value).encode()
