"""Connections to other hosts: TLS as it is asked for, and what goes wrong with them, in one line.

A name that does not resolve, a refused, reset or silent connection are `Unavailable`: it may be there later. Another
certificate than the one that is trusted, or ours not accepted, is `Misconfigured`: somebody has to look.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any

from pythonaudit.errors import TargetError, UsageError
from pythonaudit.export.targets import Misconfigured, Unavailable

_LINE = 200
_CHECK_SECONDS = 2.0
_ASKED_FOR = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED", "HANDSHAKE_FAILURE", "DECRYPT_ERROR")


#: The other side has ended the connection.
ENDED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
#: What each target that connects can be told, with what makes a value of it (`Address.read`).
TLS_OPTIONS: Mapping[str, Callable[[str], Any]] = {"ca": str, "cert": str, "key": str}


def parse_seconds(text: str) -> float:
    """A time limit.

    Raises:
        ValueError: it is none.
    """
    seconds = float(text)
    if not 0 < seconds <= 3600:
        raise ValueError("from 0 to 3600 seconds")
    return seconds


def client_context(place: str, options: Mapping[str, Any]) -> ssl.SSLContext:
    """How TLS is spoken: certificate and name of the other side are verified, always.

    Args:
        place: the address, for people.
        options: `ca`, a file with the authorities to trust instead of the system's; `cert` and `key`, files with our
            own certificate and its key, which may be one.

    Raises:
        UsageError: there is a key, and no certificate.
        Misconfigured: one of the files cannot be read, or is none.
    """
    ca, cert, key = options.get("ca"), options.get("cert"), options.get("key")
    if key and not cert:
        raise UsageError(f"{place}: key={key} is of no certificate", hint="name it: cert=FILE")
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise Misconfigured(f"{place}: ca={ca}: {_reason(error)}") from None
    if cert:
        try:
            # Whoever has put a password on the key is not asked for it: nobody may be there.
            context.load_cert_chain(cert, key, password=lambda: "")
        except (OSError, ValueError) as error:
            files = f"cert={cert}" + (f", key={key}" if key else "")
            raise Misconfigured(f"{place}: {files}: {_reason(error)}") from None
    return context


def connect(place: str, host: str, port: int, seconds: float, context: ssl.SSLContext | None) -> socket.socket:
    """A connection, TLS on it where there is a context.

    Raises:
        Unavailable, Misconfigured: as `explain`.
    """
    try:
        plain = socket.create_connection((host, port), timeout=seconds)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return context.wrap_socket(plain, server_hostname=host) if context else plain
        except BaseException:
            plain.close()
            raise
    except (OSError, ValueError) as error:
        raise explain(place, error) from None


def check_tls(place: str, host: str, port: int, context: ssl.SSLContext) -> None:
    """Looks whether TLS is why a connection has ended. A certificate of ours that is refused is told after the handshake,
    and what tells it is lost where something was sent meanwhile: so nothing is.

    Raises:
        Misconfigured: it is.
    """
    try:
        with connect(place, host, port, _CHECK_SECONDS, context) as found:
            found.recv(1)
    except OSError as error:
        told = explain(place, error)
        if isinstance(told, Misconfigured):
            raise told from None
    except Unavailable:
        pass


def explain(place: str, error: Exception) -> TargetError:
    """What is to be said of a connection that has failed.

    Args:
        place: the address, for people.
        error: what has happened.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = "name the authority that has signed it: ca=FILE"
        return Misconfigured(f"{place}: its certificate is not to be trusted: {error.verify_message}", hint=hint)
    if isinstance(error, ssl.SSLError) and error.reason:
        if "ALERT" in error.reason and any(word in error.reason for word in _ASKED_FOR):
            hint = "name one that it trusts: cert=FILE and key=FILE"
            return Misconfigured(f"{place}: it does not accept our certificate: {_reason(error)}", hint=hint)
        if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
            return Misconfigured(
                f"{place}: it speaks no TLS", hint="choose the scheme without it, or another port"
            )
    if isinstance(error, TimeoutError):
        return Unavailable(f"{place}: no answer in time")
    return Unavailable(f"{place}: {_reason(error)}")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error) or "TLS failed").lower().replace("_", " ")
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return one_line(str(error)) or type(error).__name__


def one_line(text: str) -> str:
    """A text of the other side's, short enough for a line, with no line ends in it."""
    line = " ".join(text.split())
    return line if len(line) <= _LINE else line[: _LINE - 1] + "…"
