"""What the other side says, as an `Answer` or as one of a target's errors.

The tables are those of OTLP's specification: what it calls retryable is `Unavailable`, what is about us (rights, path,
service) is `Misconfigured`, and all else it says no to is `Refused`. An answer that is no OTLP is none: the events come
again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from email.utils import parsedate_to_datetime

from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from pythonaudit.errors import TargetError
from pythonaudit.export.connect import one_line
from pythonaudit.export.targets import Answer, Misconfigured, Refused, Unavailable

#: Answers are a few bytes; nobody has to read more.
ANSWER_MAX = 64 << 10

_AFTER_MAX = 3600.0  # seconds: whoever asks for more is asked then
_DETAILS = "grpc-status-details-bin"

_BUSY = frozenset({408, 429, 502, 503, 504})
_ABOUT_US = {
    401: "it does not know us",
    403: "it does not let us",
    404: "nothing takes logs there",
    405: "nothing takes logs there",
    407: "a proxy does not know us",
    415: "it takes no protobuf",
}
_HINTS = {
    401: "set OTEL_EXPORTER_OTLP_HEADERS, or headers-file=PATH",
    403: "set OTEL_EXPORTER_OTLP_HEADERS, or headers-file=PATH",
    404: "the path is usually /v1/logs",
    405: "the path is usually /v1/logs",
}

_RETRYABLE = frozenset({"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"})
_OF_OUR_RIGHTS = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})
_OF_THE_SERVICE = frozenset({"UNIMPLEMENTED", "NOT_FOUND"})


def parse_answer(place: str, content: bytes, count: int) -> Answer:
    """What became of a request that was taken.

    Args:
        place: the address, for people.
        content: an ExportLogsServiceResponse.
        count: of the events in it.

    Raises:
        Unavailable: it is none.
    """
    try:
        said = ExportLogsServiceResponse.FromString(content).partial_success
    except DecodeError:
        raise Unavailable(f"{place}: what it answers is no OTLP", hint="is that a collector?") from None
    return Answer(min(max(said.rejected_log_records, 0), count), one_line(said.error_message))


def add(answers: Iterable[Answer]) -> Answer:
    """What became of several requests."""
    refused, reason = 0, ""
    for answer in answers:
        refused, reason = refused + answer.refused, answer.reason or reason
    return Answer(refused, reason)


def http_error(place: str, status: int, headers: Iterable[tuple[str, str]], content: bytes) -> TargetError:
    """What is to be done about an answer of HTTP that is not 200.

    Args:
        place: the address, for people.
        status: of it. `headers`: of it.
        content: a google.rpc.Status, or anything.
    """
    said = {name.lower(): value for name, value in headers}
    message = f"{place}: HTTP {status}{_because(_http_message(said, content))}"
    if status in _BUSY:
        return Unavailable(message, after=parse_after(said.get("retry-after", ""), time.time()))
    if status in _ABOUT_US:
        return Misconfigured(f"{message}; {_ABOUT_US[status]}", hint=_HINTS.get(status))
    if 300 <= status < 400:
        return Misconfigured(
            f"{message}; it is elsewhere: {one_line(said.get('location', 'it does not say where'))}"
        )
    return Unavailable(message) if status < 300 else Refused(message)


def parse_after(text: str, now: float) -> float | None:
    """Seconds of a Retry-After, at most an hour; None: it says none.

    Args:
        text: a number, or a date.
        now: seconds since 1970.
    """
    try:
        seconds = float(text) if text.strip().isdecimal() else parsedate_to_datetime(text).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), _AFTER_MAX)


def grpc_error(place: str, code: str, details: str, trailer: Iterable[tuple[str, str | bytes]]) -> TargetError:
    """What is to be done about a status of gRPC.

    Args:
        place: the address, for people.
        code: its name.
        details: the message.
        trailer: names and values that came with it.
    """
    after = _retry_after(trailer)
    message = f"{place}: gRPC {code}{_because(details)}"
    if code in _RETRYABLE or (code == "RESOURCE_EXHAUSTED" and after is not None):
        return Unavailable(message, after=after)
    if code == "RESOURCE_EXHAUSTED" and "CLIENT: Received message larger" in details:
        return Unavailable(message)  # what it answered is longer than an answer can be
    if code in _OF_OUR_RIGHTS:
        return Misconfigured(message, hint=_HINTS[401])
    if code in _OF_THE_SERVICE:
        return Misconfigured(f"{message}; nothing takes logs there")
    return Refused(message)


def _retry_after(trailer: Iterable[tuple[str, str | bytes]]) -> float | None:
    for name, value in trailer:
        if name != _DETAILS or not isinstance(value, bytes):
            continue
        info = RetryInfo()
        try:
            found = [info for detail in Status.FromString(value).details if detail.Unpack(info)]
        except DecodeError:
            return None
        if found:
            seconds: float = info.retry_delay.seconds + info.retry_delay.nanos / 1e9
            return min(max(seconds, 0.0), _AFTER_MAX)
    return None


def _http_message(headers: dict[str, str], content: bytes) -> str:
    kind = headers.get("content-type", "")
    if kind.startswith("application/x-protobuf"):
        try:
            message: str = Status.FromString(content).message
            return message
        except DecodeError:
            return ""
    return content.decode("utf-8", "replace") if kind.startswith(("text/plain", "application/json")) else ""


def _because(text: str) -> str:
    line = one_line(text)
    return f": {line}" if line else ""
