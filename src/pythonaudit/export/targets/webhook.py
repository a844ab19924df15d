"""Events to whoever takes a signed POST: `webhook+https://HOST/PATH`, and `webhook+http://127.0.0.1:PORT/PATH`.

The body is `{"events":[…]}`, each event as `log --format jsonl` prints it. It is signed as Standard Webhooks say
(https://www.standardwebhooks.com), so that libraries for it verify what comes:

    webhook-id: msg_…                     the same whenever the same events come again
    webhook-timestamp: 1795357833         seconds; old ones are to be refused, for they are replayed
    webhook-signature: v1,BASE64          HMAC-SHA256 of `ID.TIMESTAMP.BODY`

The secret is `whsec_` and base64 of 24 to 64 bytes: `secret` in the configuration, a file (`secret-file`), or the
variable PYTHONAUDIT_WEBHOOK_SECRET. Further options are `ca`, a file of certificates to trust instead of the
system's, and `timeout`, seconds for a whole request.

An answer of 2xx means that the events are taken. 400, 413 and 422 refuse these events; 408, 425, 429 and 5xx, or no
sound answer in time, say to try again, after `Retry-After` if there is one; all others, redirects among them, and
certificates that do not hold say that something is set up wrong.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING

from pythonaudit import __version__
from pythonaudit.errors import UsageError
from pythonaudit.export.formats.safe import neutralise
from pythonaudit.export.targets import Address, Answer, Misconfigured, Refused, Target, Unavailable

if TYPE_CHECKING:
    from pythonaudit.journal.decode import Event

VARIABLE = "PYTHONAUDIT_WEBHOOK_SECRET"

_MOST = 500
_PREFIX = "whsec_"
_KEY_BYTES = range(24, 65)
_TIMEOUT_SECONDS = 30.0
_TIMEOUT_MAX = 600.0
_ANSWER_BYTES = 1 << 16
_REASON_LENGTH = 200
_AFTER_MAX = 86_400.0
_PATH = re.compile(r"[!-~]*")
_REFUSED = frozenset({400, 413, 422})
_LATER = frozenset({408, 425, 429})


def open_webhook(address: Address) -> Target:
    """The target of an address.

    Raises:
        UsageError: the address or an option makes no sense.
        Misconfigured: there is no sound secret, or the certificates cannot be read.
    """
    text = address.text
    is_secure = address.scheme.endswith("https")
    if not address.host:
        raise UsageError(f"{text}: no host", hint="write webhook+https://HOST/PATH")
    if not is_secure and not _is_loopback(address.host):
        raise UsageError(f"{text}: http shows everything to the network", hint="write webhook+https://…")
    if not _PATH.fullmatch(address.path):
        raise UsageError(f"{text}: a path with blanks or letters that are not ASCII", hint="write %20 for a blank")
    options = address.read(secrets={"secret": VARIABLE}, ca=str, timeout=_seconds)
    if "secret" not in options:
        hint = f"secret-file=PATH, or set {VARIABLE}; such as whsec_$(head -c 32 /dev/urandom | base64)"
        raise Misconfigured(f"{text}: no secret to sign with", hint=hint)
    key = _key(text, options["secret"])
    context = _context(text, options.get("ca")) if is_secure else None
    return _Webhook(address, key, context, options.get("timeout", _TIMEOUT_SECONDS))


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 0 < float(text) <= _TIMEOUT_MAX:
        raise ValueError(f"seconds, 1 to {_TIMEOUT_MAX:.0f}")
    return float(text)


def _key(text: str, secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or len(key) not in _KEY_BYTES:
        hint = f"{_PREFIX} and base64 of {_KEY_BYTES.start} to {_KEY_BYTES.stop - 1} bytes"
        raise Misconfigured(f"{text}: the secret is none", hint=hint)
    return key


def _context(text: str, authorities: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authorities)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = error.strerror if isinstance(error, FileNotFoundError | PermissionError) else "no certificates"
        raise Misconfigured(f"{text}: ca={authorities}: {reason}") from None


class _Webhook:
    """One receiver.

    Args:
        address: of it.
        key: to sign with.
        context: of TLS; None: without.
        timeout: seconds for a whole request.
    """

    most = _MOST

    def __init__(self, address: Address, key: bytes, context: ssl.SSLContext | None, timeout: float) -> None:
        self._name, self._path = address.text, address.path or "/"
        self._host, self._port = address.host, address.port
        self._key, self._tls, self._timeout = key, context, timeout
        self._connection: http.client.HTTPConnection | None = None

    def send(self, events: Sequence[Event]) -> Answer:
        """Posts events; when it returns, the receiver has said that it has taken them."""
        body = b'{"events":[' + b",".join(event.to_json() for event in events) + b"]}"
        ids = "\n".join(event.id for event in events)
        message_id = "msg_" + sha256(ids.encode()).hexdigest()[:32]
        is_used = self._connection is not None
        try:
            try:
                status, after, said = self._post(message_id, body)
            except (ConnectionError, http.client.BadStatusLine):
                if not is_used:
                    raise
                # The other side closes what was idle for long. It knows by the id if it has these already.
                status, after, said = self._post(message_id, body)
        except ssl.SSLCertVerificationError as error:
            reason = f"certificate: {error.verify_message}"
            raise Misconfigured(f"{self._name}: {reason}", hint="ca=FILE names whom to trust") from None
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"{self._name}: {_reason(error)}") from None
        self._judge(status, after, said)
        return Answer()

    def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, message_id: str, body: bytes) -> tuple[int, str | None, str]:
        """Status, `Retry-After` and the beginning of the answer."""
        now = int(time.time())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"pythonaudit/{__version__}",
            "webhook-id": message_id,
            "webhook-timestamp": str(now),
            "webhook-signature": sign(self._key, message_id, now, body),
        }
        connection = self._connection or self._connect()
        self._connection = connection
        # A receiver that sends a byte now and then would never be too slow for the socket's own timeout.
        is_late = threading.Event()
        watch = threading.Timer(self._timeout, self._cut, (connection, is_late))
        watch.daemon = True
        watch.start()
        is_whole = False
        try:
            connection.request("POST", self._path, body, headers)
            answer = connection.getresponse()
            said = answer.read(_ANSWER_BYTES)
            if is_late.is_set() or (answer.length and len(said) < _ANSWER_BYTES):
                raise http.client.IncompleteRead(said)  # what was cut off looks like an end
            is_whole = answer.isclosed()
            return answer.status, answer.headers.get("Retry-After"), said.decode("utf-8", "replace")
        except (OSError, http.client.HTTPException):
            if is_late.is_set():
                raise TimeoutError(f"no answer within {self._timeout:.0f} seconds") from None
            raise
        finally:
            watch.cancel()
            if not is_whole:
                self.close()

    def _connect(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._tls)

    @staticmethod
    def _cut(connection: http.client.HTTPConnection, is_late: threading.Event) -> None:
        is_late.set()
        with contextlib.suppress(OSError, AttributeError):  # it is closed, or not yet open
            connection.sock.shutdown(socket.SHUT_RDWR)

    def _judge(self, status: int, after: str | None, said: str) -> None:
        if 200 <= status < 300:
            return
        words = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
        reason = " ".join(neutralise(" ".join(said.split()))[:_REASON_LENGTH].split())
        told = f"{self._name}: answers {status} {words}".rstrip() + (f": {reason}" if reason else "")
        if status in _REFUSED:
            raise Refused(told)
        if status in _LATER or status >= 500:
            raise Unavailable(told, after=_after(after))
        if 300 <= status < 400:
            raise Misconfigured(told, hint="redirects are not followed: name the address where it is")
        raise Misconfigured(told)


def _after(text: str | None) -> float | None:
    """Seconds of `Retry-After`, which has a number or a date; None: there is none, or it makes no sense."""
    if text is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", text.strip()):
        return min(float(text), _AFTER_MAX)
    try:
        return min(max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0), _AFTER_MAX)
    except (ValueError, TypeError, OverflowError):
        return None


def _reason(error: Exception) -> str:
    if isinstance(error, http.client.HTTPException):
        return "answers something that is not HTTP"
    reason = error.strerror if isinstance(error, OSError) else None
    return neutralise(reason or str(error) or type(error).__name__)
