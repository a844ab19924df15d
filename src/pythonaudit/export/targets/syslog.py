"""Targets that speak syslog (RFC 5424), by UDP, TCP or TLS.

    syslog+tls://logs.example:6514?ca=/etc/ca.pem     syslog+tcp://127.0.0.1:601     syslog+udp://127.0.0.1:514

docs/guide/syslog.md has the options, what is in a message, and what is known of its arrival.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pythonaudit.errors import UsageError
from pythonaudit.export import connect
from pythonaudit.export.targets import Address, Target

_PORTS = {"syslog+udp": 514, "syslog+tcp": 601, "syslog+tls": 6514}
_LIMITS = {"syslog+udp": 2048, "syslog+tcp": 8192, "syslog+tls": 8192}
_SECONDS = 10.0

#: The facilities of RFC 5424 that have a name everywhere, and 13 by the two that it has.
_FACILITIES = {
    name: number
    for number, name in enumerate(
        ("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp")
    )
} | {"audit": 13, "security": 13, **{f"local{number}": 16 + number for number in range(8)}}
_AUDIT = 13


def open_syslog(address: Address) -> Target:
    """Syslog: `syslog+udp`, `syslog+tcp`, `syslog+tls`.

    Raises:
        UsageError: an option makes no sense, or there is no host.
        Misconfigured: a file that it needs cannot be read.
    """
    from pythonaudit.export.syslog.datagram import DatagramTarget
    from pythonaudit.export.syslog.message import Encoder
    from pythonaudit.export.syslog.stream import StreamTarget, line, octet_counted

    scheme, place = address.scheme, address.text
    if not address.host:
        raise UsageError(f"{place}: no host", hint=f"write one such as {scheme}://127.0.0.1")
    if address.path.strip("/"):
        raise UsageError(f"{place}: syslog has no path", hint="end the address with the port")
    given = _read(address)
    encoder = Encoder(given.get("facility", _AUDIT), given.get("limit", _LIMITS[scheme]))
    port, seconds = address.port or _PORTS[scheme], given.get("timeout", _SECONDS)
    if scheme == "syslog+udp":
        return DatagramTarget(place, address.host, port, encoder, seconds)
    context = connect.client_context(place, given) if scheme == "syslog+tls" else None
    frame = line if given.get("framing") == "lf" else octet_counted
    return StreamTarget(place, address.host, port, context, encoder, frame, seconds)


def _read(address: Address) -> dict[str, Any]:
    parsers: dict[str, Callable[[str], Any]] = {
        "facility": _parse_facility,
        "limit": _parse_limit,
        "timeout": connect.parse_seconds,
    }
    if address.scheme != "syslog+udp":
        parsers["framing"] = _parse_framing
    if address.scheme == "syslog+tls":
        parsers |= connect.TLS_OPTIONS
    return address.read({}, **parsers)


def _parse_facility(text: str) -> int:
    number = _FACILITIES.get(text, int(text) if text.isascii() and text.isdecimal() else -1)
    if not 0 <= number <= 23:
        raise ValueError("0 to 23, or a name such as audit, authpriv, local0")
    return number


def _parse_limit(text: str) -> int:
    from pythonaudit.export.syslog.message import LIMIT_MAX, LIMIT_MIN

    number = int(text)
    if not LIMIT_MIN <= number <= LIMIT_MAX:
        raise ValueError(f"{LIMIT_MIN} to {LIMIT_MAX} bytes")
    return number


def _parse_framing(text: str) -> str:
    if text not in ("octet", "lf"):
        raise ValueError("octet or lf")
    return text
