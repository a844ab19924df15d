"""What authenticates us: headers as `OTEL_EXPORTER_OTLP_HEADERS` has them.

    >>> parse_headers("otlp+https://…", "api-key=a%20b,x-tenant=7")
    {'api-key': 'a b', 'x-tenant': '7'}

They are secrets: no message shows a value.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from pythonaudit.export.targets import Misconfigured

_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\t -~]*")
_OURS = ("content-", "grpc-", "host", "transfer-encoding", "user-agent")


def parse_headers(place: str, text: str) -> dict[str, str]:
    """Names, in lower case, and values.

    Args:
        place: the address, for people.
        text: `NAME=VALUE,NAME=VALUE`, values percent-encoded.

    Raises:
        Misconfigured: it is something else, or says what is for the protocol to say.
    """
    found = {}
    for number, pair in enumerate(filter(None, map(str.strip, text.split(","))), 1):
        name, equals, value = pair.partition("=")
        name, value = name.strip().lower(), unquote(value.strip())
        if not equals or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value) or name.startswith(_OURS):
            hint = "write NAME=VALUE,NAME=VALUE, as in OTEL_EXPORTER_OTLP_HEADERS"
            raise Misconfigured(f"{place}: header {number} of those that are set makes no sense", hint=hint)
        found[name] = value
    return found
