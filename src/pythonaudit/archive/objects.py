"""The objects of a bucket: written once, never replaced, and read; what goes wrong is told in one line.

    bucket = Bucket(parse_bucket("s3://audit/fleet"))
    bucket.put("manifest/web-1/…", b"…")          # False: it was there already
    for key, size in bucket.keys("manifest/web-1/"): ...

Keys are below the prefix of the address. Credentials, region and proxies are found as every AWS tool finds them
(`AWS_ACCESS_KEY_ID`, `~/.aws`, the role of an instance). Home of `botocore`; a `Bucket` may be used by many threads.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pythonaudit.archive.address import BucketAddress
from pythonaudit.errors import StoreError

#: How many requests are under way at once.
CONNECTIONS = 16
#: The largest object that one request can write.
MOST_BYTES = 5 << 30

_BLOCK = 1 << 20
_SMALL_BYTES = 64 << 20  # of what is read into memory
_CONNECT_SECONDS = 10.0
_PASSING = {408, 409, 429}  # statuses below 500 that are gone the next time
_HINTS = {
    "NoSuchBucket": "create it, or name another one",
    "AccessDenied": "docs/guide/fleet.md has the policies that senders and readers need",
    "InvalidAccessKeyId": "look at AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or at ~/.aws/credentials",
    "SignatureDoesNotMatch": "look at AWS_SECRET_ACCESS_KEY, or at ~/.aws/credentials",
    "RequestTimeTooSkewed": "set the clock of this host",
}
_HINTS["403"] = _HINTS["AccessDenied"]
_HINTS["404"] = _HINTS["NoSuchBucket"]

Item = TypeVar("Item")
Found = TypeVar("Found")


class BucketError(StoreError):
    """A bucket cannot be read or written.

    Args:
        message: what is wrong, and where.
        is_passing: it may be gone the next time: the server is away, busy or answers nonsense.
    """

    def __init__(self, message: str, *, hint: str | None = None, is_passing: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.is_passing = is_passing


class Bucket:
    """One bucket.

    Args:
        address: where it is. Nothing is asked of it yet.

    Raises:
        BucketError: there are no credentials.
    """

    def __init__(self, address: BucketAddress) -> None:
        import botocore.session
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        self.address = address
        #: Of objects, by all threads together.
        self.bytes_read = 0
        session = botocore.session.get_session()
        session.register_component("data_loader", _loader())
        endpoint = address.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        config = Config(
            connect_timeout=min(_CONNECT_SECONDS, address.timeout),
            read_timeout=address.timeout,
            retries={"mode": "standard"},  # AWS_MAX_ATTEMPTS says how often; 3 by default
            max_pool_connections=CONNECTIONS,
            # Nobody but Amazon can be relied on to have a name in DNS for each bucket.
            s3={"addressing_style": "path" if endpoint else "auto"},
        )
        try:
            if session.get_credentials() is None:
                hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
                raise BucketError(f"{address}: there are no credentials", hint=hint)
            region = address.region or session.get_config_variable("region") or "us-east-1"
            self._client = session.create_client("s3", region_name=region, endpoint_url=endpoint, config=config)
        except (BotoCoreError, ValueError) as error:
            raise BucketError(f"{address}: {error}") from None

    def put(
        self, key: str, body: bytes | Path, sha256: str | None = None, locked_until: datetime | None = None
    ) -> bool:
        """Writes an object that is there whole or not at all; False: there is one already, and it stays as it is.

        Args:
            key: of the object.
            body: what it holds, or the file that has it.
            sha256: of that, in hexadecimal digits: the server takes nothing else. None: it is made here.
            locked_until: until then nobody can remove or change it.

        Raises:
            FileNotFoundError: the file is not there.
            ValueError: the file is not what its digest says.
            BucketError: it could not be written.
        """
        if sha256 is None:
            sha256 = hashlib.sha256(body if isinstance(body, bytes) else body.read_bytes()).hexdigest()
        digest = base64.b64encode(bytes.fromhex(sha256)).decode()
        lock: dict[str, Any] = {}
        if locked_until:
            lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": locked_until}

        def write(content: Any) -> Any:
            return self._client.put_object(
                Bucket=self.address.bucket,
                Key=self.address.key(key),
                Body=content,
                IfNoneMatch="*",
                ChecksumSHA256=digest,
                **lock,
            )

        try:
            if isinstance(body, bytes):
                answer = self._ask(lambda: write(body), key)
            else:
                with open(body, "rb") as file:
                    answer = self._ask(lambda: write(file), key)
        except _AnswerError as error:
            if error.code in ("PreconditionFailed", "412"):
                return False
            if error.code in ("BadDigest", "XAmzContentChecksumMismatch"):
                raise ValueError(f"its SHA-256 is not {sha256}") from None
            if error.code in ("InvalidRequest", "ObjectLockConfigurationNotFoundError") and lock:
                hint = "object lock is chosen when a bucket is created; or leave 'lock' out"
                raise BucketError(f"{self.address}: the bucket has no object lock", hint=hint) from None
            raise error.told() from None
        if not answer.get("ETag") or answer.get("ChecksumSHA256", digest) != digest:
            raise self._nonsense()
        return True

    def get(self, key: str) -> bytes:
        """A small object.

        Raises:
            FileNotFoundError: there is none.
            BucketError: it could not be read.
        """
        return b"".join(self._blocks(key, _SMALL_BYTES))

    def download(self, key: str, path: Path, most: int) -> str:
        """Writes an object to a file; gives its SHA-256. Of one that is longer, `most` bytes and one are read.

        Raises:
            FileNotFoundError: there is none.
            BucketError: it could not be read.
            OSError: the file cannot be written.
        """
        digest = hashlib.sha256()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            for block in self._blocks(key, most + 1):
                digest.update(block)
                file.write(block)
        return digest.hexdigest()

    def keys(self, prefix: str, after: str = "") -> Iterator[tuple[str, int]]:
        """Keys that begin so, in order, and the size of each.

        Args:
            prefix: how they begin, below the prefix of the address.
            after: those up to this one are left out.

        Raises:
            BucketError: they cannot be listed.
        """
        for page in self._pages(prefix, after):
            for one in page.get("Contents", ()):
                yield self._below(one["Key"]), one["Size"]

    def names(self, prefix: str) -> Iterator[str]:
        """What stands between a prefix, which ends with `/`, and the next `/`, each once.

        Raises:
            BucketError: they cannot be listed.
        """
        for page in self._pages(prefix, "", Delimiter="/"):
            for one in page.get("CommonPrefixes", ()):
                yield self._below(one["Prefix"]).removeprefix(prefix).removesuffix("/")

    def all(self, function: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
        """What a function gives of each, in order; many are under way at once. Where one fails, no more are begun."""
        items = list(items)
        if len(items) < 2:
            return [function(item) for item in items]
        with ThreadPoolExecutor(min(CONNECTIONS, len(items))) as pool:
            try:
                return list(pool.map(function, items))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _pages(self, prefix: str, after: str, **more: Any) -> Iterator[Any]:
        begin = self.address.key(prefix)
        asked: dict[str, Any] = {"Bucket": self.address.bucket, "Prefix": begin, **more}
        if after:
            asked["StartAfter"] = self.address.key(after)
        while True:
            try:
                page = self._ask(lambda: self._client.list_objects_v2(**asked), prefix)
            except _AnswerError as error:
                raise error.told() from None
            if "IsTruncated" not in page or not all("Key" in one for one in page.get("Contents", ())):
                raise self._nonsense()
            yield page
            if not page["IsTruncated"]:
                return
            asked["ContinuationToken"] = page.get("NextContinuationToken", "")

    def _blocks(self, key: str, most: int) -> Iterator[bytes]:
        """An object in pieces, up to so many bytes."""
        from botocore.exceptions import HTTPClientError, IncompleteReadError, ReadTimeoutError

        try:
            answer = self._ask(
                lambda: self._client.get_object(Bucket=self.address.bucket, Key=self.address.key(key)), key
            )
        except _AnswerError as error:
            if error.code in ("NoSuchKey", "404"):
                raise FileNotFoundError(2, "not there", f"{self.address}/{key}") from None
            raise error.told() from None
        body, read = answer["Body"], 0
        try:
            while read < most and (block := body.read(min(_BLOCK, most - read))):
                read += len(block)
                self.bytes_read += len(block)
                yield block
        except (HTTPClientError, IncompleteReadError, ReadTimeoutError, OSError) as error:
            raise BucketError(f"{self.address}/{key}: {_words(error)}", is_passing=True) from None
        finally:
            with suppress(Exception):
                body.close()

    def _ask(self, request: Callable[[], Any], key: str) -> Any:
        """The answer to a request.

        Raises:
            _AnswerError: the server says no.
            BucketError: it cannot be asked, or says nothing that makes sense.
        """
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
        from botocore.parsers import ResponseParserError

        try:
            return request()
        except ClientError as error:
            raise _AnswerError(self.address, error.response) from None
        except NoCredentialsError:
            raise BucketError(f"{self.address}: there are no credentials", hint="set AWS_ACCESS_KEY_ID") from None
        except (BotoCoreError, OSError) as error:
            raise BucketError(f"{self.address}: {_words(error)}", is_passing=True) from None
        except (ResponseParserError, ValueError):
            raise self._nonsense() from None

    def _below(self, key: str) -> str:
        return key.removeprefix(f"{self.address.prefix}/") if self.address.prefix else key

    def _nonsense(self) -> BucketError:
        hint = "see whether the endpoint is that of an object store"
        return BucketError(f"{self.address}: the answer is none of S3", hint=hint, is_passing=True)


class _AnswerError(Exception):
    """The server says no."""

    def __init__(self, address: BucketAddress, response: Any) -> None:
        super().__init__()
        self._address = address
        error = response.get("Error", {})
        self.code, self._message = str(error.get("Code", "")), str(error.get("Message", ""))
        self._status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))

    def told(self) -> BucketError:
        """For people."""
        is_passing = self._status >= 500 or self._status in _PASSING or self._status < 400
        what = " ".join(f"{self.code}: {self._message}".split())[:200]
        return BucketError(f"{self._address}: {what}", hint=_HINTS.get(self.code), is_passing=is_passing)


@lru_cache(1)
def _loader() -> Any:
    """What botocore knows of S3: several megabytes of JSON, read once."""
    from botocore.loaders import create_loader

    return create_loader()


def _words(error: Exception) -> str:
    """What is wrong, in one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
