"""The target `s3://BUCKET/PREFIX`: the archive as it is, in object storage, for many hosts in one bucket.

    pythonaudit export --to 's3://audit/fleet?lock=30d'

Closed parts, the manifest and the log with its checkpoints, each as an object that is written once
(docs/format/bucket.md); events that are not archived yet come when they are. A `Mirror`: it looks itself what the
bucket has, so there is no cursor, and nothing to lose with one. Options:

- `endpoint`, `region`, `timeout`: where the server is, if not where the AWS variables say.
- `name`: of this sender in the bucket; by default the name of the host.
- `interval`: how often, and what is promised to those who verify: `30s`, `5m` (the default), `1d` at most.
- `lock`: how long nobody can remove what was sent, not even who sent it (object lock, compliance mode): `30d`.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path

from pythonaudit.archive.address import OPTIONS, build_bucket
from pythonaudit.archive.bucket import MOST_INTERVAL
from pythonaudit.archive.objects import Bucket, BucketError
from pythonaudit.archive.sending import Sender, Sent
from pythonaudit.errors import FormatError, StoreError, TargetError, UsageError
from pythonaudit.export.targets import Address, Misconfigured, Shipped, Unavailable

INTERVAL_SECONDS = 300
_SECONDS = 10.0  # of one call, about
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"([1-9][0-9]{0,8})([smhd])")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


class BucketTarget:
    """Sends an archive to a bucket.

    Args:
        bucket: where to.
        name: of this sender.
        interval: seconds between two passes.
        lock: seconds for which what was sent cannot be removed; None: it can.
    """

    def __init__(self, bucket: Bucket, name: str, interval: int, lock: int | None) -> None:
        self._interval, self._lock = interval, lock
        self._sender = Sender(bucket, name, interval, self._locked_until)
        self._next = time.monotonic()
        self._directory: Path | None = None

    def ship(self, directory: Path) -> Shipped:
        """Sends what is new, once an interval; in between it has nothing to do.

        Args:
            directory: that of `PYTHONAUDIT_DIR`.

        Raises:
            Unavailable, Misconfigured: as `Mirror` says.
        """
        begin = time.monotonic()
        if begin < self._next:
            return Shipped()
        self._directory = directory
        sent = self._send(directory)
        if sent.is_done:
            self._next = begin + self._interval
        return Shipped(sent.objects, sent.bytes, sent.events, sent.is_done)

    def close(self) -> None:
        """Nothing more comes. What has come since the last pass, be it that the agent stops, is sent, if that can be."""
        if self._directory:
            with suppress(TargetError):
                self._send(self._directory)

    def _send(self, directory: Path) -> Sent:
        try:
            return self._sender.send(directory, time.monotonic() + _SECONDS)
        except BucketError as error:
            raise _told(error) from None
        except (StoreError, FormatError) as error:  # of what is to be sent: it may be mended
            raise Unavailable(str(error), hint=error.hint) from None

    def _locked_until(self) -> datetime | None:
        return None if self._lock is None else datetime.now(timezone.utc) + timedelta(seconds=self._lock)


def open_bucket(address: Address) -> BucketTarget:
    """The target of an address.

    Raises:
        UsageError: an option makes no sense.
        Misconfigured: there are no credentials.
    """
    said = address.read(endpoint=str, region=str, timeout=str, name=_name, interval=_interval, lock=_span)
    options = {option: said[option] for option in OPTIONS if option in said}
    place = address.text.partition("://")[2]
    try:
        bucket = Bucket(build_bucket(place, options))
    except BucketError as error:
        raise _told(error) from None
    name = said.get("name") or _host()
    return BucketTarget(bucket, name, said.get("interval", INTERVAL_SECONDS), said.get("lock"))


def _told(error: BucketError) -> TargetError:
    kind = Unavailable if error.is_passing else Misconfigured
    return kind(str(error), hint=error.hint)


def _host() -> str:
    name = os.uname().nodename
    if not _NAME.fullmatch(name):
        raise UsageError(f"s3: {name!r} cannot name a sender", hint="say what this host is called: name=NAME")
    return name


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("letters, digits, '.', '-' and '_'")
    return text


def _span(text: str) -> int:
    match = _SPAN.fullmatch(text)
    if match is None:
        raise ValueError("it takes a time such as 30s, 5m, 12h or 30d")
    return int(match[1]) * _UNITS[match[2]]


def _interval(text: str) -> int:
    seconds = _span(text)
    if seconds > MOST_INTERVAL:
        raise ValueError("a day at most")
    return seconds
