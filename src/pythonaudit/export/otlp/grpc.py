"""OTLP by gRPC: the service that takes logs, called with bytes.

A channel that has failed is not used again: gRPC would wait longer each time before it connects anew, and when to try
again is for the caller to say. gRPC tells little about a TLS that failed; so that is looked at by hand.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pythonaudit import __version__
from pythonaudit.errors import TargetError
from pythonaudit.export.connect import check_tls
from pythonaudit.export.otlp import answers
from pythonaudit.export.otlp.records import Encoder
from pythonaudit.export.targets import Answer, Misconfigured, Unavailable
from pythonaudit.journal.decode import Event

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it prints of its own accord, otherwise

import grpc

_METHOD = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"


class GrpcTarget:
    """Hands events to a collector.

    Args:
        place: the address, for people.
        host, port: of it.
        context: of TLS; None: cleartext.
        tls: the options `ca`, `cert` and `key` that it was made of.
        headers: further ones.
        seconds: that a request may take.
        compresses: whether requests are.
        encoder: makes them.
    """

    most = 4096

    def __init__(
        self,
        place: str,
        host: str,
        port: int,
        *,
        context: ssl.SSLContext | None,
        tls: Mapping[str, str],
        headers: Mapping[str, str],
        seconds: float,
        compresses: bool,
        encoder: Encoder,
    ) -> None:
        self._place, self._host, self._port, self._context = place, host, port, context
        self._seconds, self._encoder = seconds, encoder
        self._metadata = tuple(headers.items())
        self._credentials = _credentials(place, tls) if context else None
        self._options = {
            "grpc.primary_user_agent": f"pythonaudit/{__version__}",
            "grpc.enable_http_proxy": 0,
            "grpc.enable_retries": 0,
            "grpc.use_local_subchannel_pool": 1,
            "grpc.max_receive_message_length": answers.ANSWER_MAX,
        }
        self._compression = grpc.Compression.Gzip if compresses else grpc.Compression.NoCompression
        self._channel: Any = None
        self._export: Any = None

    def send(self, events: Sequence[Event]) -> Answer:
        """Hands events over.

        Raises:
            Unavailable, Refused, Misconfigured: as in `answers`, and of the connection.
        """
        return answers.add([self._call(body, count) for body, count in self._encoder.requests(events)])

    def close(self) -> None:
        """Closes the connection."""
        if self._channel is not None:
            self._channel.close()
        self._channel = None

    def _call(self, body: bytes, count: int) -> Answer:
        if self._channel is None:
            self._open()
        try:
            content = self._export(
                body, timeout=self._seconds, metadata=self._metadata, compression=self._compression
            )
            return answers.parse_answer(self._place, content, count)
        except grpc.RpcError as error:
            raise self._explain(error) from None
        except Unavailable:
            self.close()
            raise

    def _open(self) -> None:
        at = f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"
        options = list(self._options.items())
        if self._credentials is None:
            self._channel = grpc.insecure_channel(at, options)
        else:
            self._channel = grpc.secure_channel(at, self._credentials, options)
        self._export = self._channel.unary_unary(_METHOD)

    def _explain(self, error: Any) -> TargetError:
        code, trailer = error.code().name, error.trailing_metadata() or ()
        found = answers.grpc_error(self._place, code, error.details() or "", trailer)
        if isinstance(found, Unavailable):
            self.close()
            if code == "UNAVAILABLE" and self._context is not None:
                check_tls(self._place, self._host, self._port, self._context)
        return found


def _credentials(place: str, tls: Mapping[str, str]) -> Any:
    """What the context of TLS is, for gRPC. It has authorities of its own: the system's are used where they are."""
    ca = tls.get("ca") or ssl.get_default_verify_paths().cafile
    cert, key = tls.get("cert"), tls.get("key") or tls.get("cert")
    read = {}
    for file in filter(None, (ca, cert, key)):
        try:
            read[file] = Path(file).read_bytes()
        except OSError as error:
            raise Misconfigured(f"{place}: {file}: {error.strerror}") from None
    return grpc.ssl_channel_credentials(
        read.get(ca or ""), read.get(key or "") if cert else None, read.get(cert or "")
    )
