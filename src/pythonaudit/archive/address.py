"""The address of a bucket: `s3://BUCKET/PREFIX`, with what else is needed to reach it behind `?`.

    >>> address = parse_bucket("s3://audit/fleet?endpoint=https://minio.example:9000")
    >>> str(address), address.key("manifest", "web-1")
    ('s3://audit/fleet', 'fleet/manifest/web-1')

The standard library only: the command line asks of every `--dir` whether it is one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from pythonaudit.errors import UsageError

SCHEME = "s3://"
OPTIONS = ("endpoint", "region", "timeout")

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_PREFIX = re.compile(r"[A-Za-z0-9!_.'()*=,+@-]+(/[A-Za-z0-9!_.'()*=,+@-]+)*")
_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class BucketAddress:
    """Where a bucket is.

    Attributes:
        bucket: its name.
        prefix: before all keys, without `/` at its ends; empty: none.
        endpoint: URL of the server; None: that of `AWS_ENDPOINT_URL`, else Amazon's.
        region: None: as the AWS variables and files say.
        timeout: seconds that the server may say nothing.
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    timeout: float = _TIMEOUT_SECONDS

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")

    def key(self, *words: str) -> str:
        """The key of an object below the prefix."""
        return "/".join((self.prefix, *words) if self.prefix else words)


def parse_bucket(text: str) -> BucketAddress:
    """The address that a text is.

    Raises:
        UsageError: it is none.
    """
    place, _, query = text.removeprefix(SCHEME).partition("?")
    return build_bucket(place, dict(parse_qsl(query, keep_blank_values=True)))


def build_bucket(place: str, options: Mapping[str, str]) -> BucketAddress:
    """The address of `BUCKET/PREFIX`.

    Args:
        place: bucket and prefix.
        options: of `OPTIONS`.

    Raises:
        UsageError: a name or an option makes no sense.
    """
    bucket, _, prefix = place.partition("/")
    prefix = prefix.strip("/")
    shown = f"{SCHEME}{place}"
    if not _BUCKET.fullmatch(bucket):
        raise UsageError(
            f"{shown}: {bucket!r} is no name of a bucket", hint="write s3://BUCKET or s3://BUCKET/PREFIX"
        )
    if prefix and (not _PREFIX.fullmatch(prefix) or not {".", ".."}.isdisjoint(prefix.split("/"))):
        raise UsageError(f"{shown}: {prefix!r} is no prefix", hint="letters, digits, - and _, with / in between")
    unknown = sorted(options.keys() - set(OPTIONS))
    if unknown:
        raise UsageError(f"{shown}: no option {unknown[0]}", hint=f"it has {', '.join(OPTIONS)}")
    endpoint = options.get("endpoint")
    if endpoint is not None and not re.fullmatch(r"https?://[^\s/@]+/?", endpoint):
        raise UsageError(f"{shown}: endpoint={endpoint!r}", hint="write one such as https://HOST:9000")
    try:
        timeout = float(options.get("timeout", _TIMEOUT_SECONDS))
        if not 0 < timeout <= 3600:
            raise ValueError
    except ValueError:
        raise UsageError(f"{shown}: timeout={options['timeout']!r}", hint="seconds, up to 3600") from None
    return BucketAddress(bucket, prefix, endpoint, options.get("region"), timeout)
