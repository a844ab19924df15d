"""Targets that speak OTLP: collectors of OpenTelemetry, and whatever else takes logs that way.

    otlp+http://127.0.0.1:4318                    otlp+https://otlp.example:443/v1/logs?ca=/etc/ca.pem
    otlp+grpc://collector:4317                    otlp+grpcs://collector:4317?cert=c.pem&key=k.pem

`http` and `grpc` are cleartext, to whatever host, as OpenTelemetry has it: they are for the loopback interface and for
networks that are trusted. docs/guide/otlp.md has the options, and which attribute holds what.
"""

from __future__ import annotations

from typing import Any

from pythonaudit.errors import UsageError
from pythonaudit.export import connect
from pythonaudit.export.targets import Address, Target

_SECRETS = {"headers": "OTEL_EXPORTER_OTLP_HEADERS"}
_HTTP_PORT, _GRPC_PORT = 4318, 4317
_PATH = "/v1/logs"
_SECONDS = 10.0
_COMPRESSIONS = ("gzip", "none")


def open_http(address: Address) -> Target:
    """OTLP by HTTP: `otlp+http`, `otlp+https`.

    Raises:
        UsageError: an option makes no sense, or there is no host.
        Misconfigured: a file that it needs cannot be read.
    """
    from pythonaudit.export.otlp.http import HttpTarget

    given = _read(address)
    path = address.path if address.path.strip("/") else _PATH
    return HttpTarget(
        address.text,
        address.host,
        address.port or _HTTP_PORT,
        path,
        context=connect.client_context(address.text, given) if address.scheme == "otlp+https" else None,
        **_shared(address, given),
    )


def open_grpc(address: Address) -> Target:
    """OTLP by gRPC: `otlp+grpc`, `otlp+grpcs`.

    Raises:
        UsageError: an option makes no sense, or there is no host.
        Misconfigured: a file that it needs cannot be read.
    """
    from pythonaudit.export.otlp.grpc import GrpcTarget

    given = _read(address)
    if address.path.strip("/"):
        raise UsageError(f"{address.text}: gRPC has no path", hint="end the address with the port")
    return GrpcTarget(
        address.text,
        address.host,
        address.port or _GRPC_PORT,
        context=connect.client_context(address.text, given) if address.scheme == "otlp+grpcs" else None,
        tls={name: given[name] for name in connect.TLS_OPTIONS if name in given},
        **_shared(address, given),
    )


def _read(address: Address) -> dict[str, Any]:
    if not address.host:
        raise UsageError(f"{address.text}: no host", hint=f"write one such as {address.scheme}://127.0.0.1")
    parsers: dict[str, Any] = {"timeout": connect.parse_seconds, "compression": _compression, "service": str}
    if address.scheme in ("otlp+https", "otlp+grpcs"):
        parsers |= connect.TLS_OPTIONS
    return address.read(_SECRETS, **parsers)


def _shared(address: Address, given: dict[str, Any]) -> dict[str, Any]:
    from pythonaudit.export.otlp.headers import parse_headers
    from pythonaudit.export.otlp.records import Encoder

    return {
        "headers": parse_headers(address.text, given.get("headers", "")),
        "seconds": given.get("timeout", _SECONDS),
        "compresses": given.get("compression", "gzip") == "gzip",
        "encoder": Encoder(given.get("service")),
    }


def _compression(text: str) -> str:
    if text not in _COMPRESSIONS:
        raise ValueError("gzip or none")
    return text
