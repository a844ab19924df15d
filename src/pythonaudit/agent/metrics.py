"""Figures for Prometheus, at a loopback address. Home of prometheus_client.

metrics = Metrics(("127.0.0.1", 9464), figures, problems, version)
metrics.end()
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from pythonaudit.agent.figures import Figures
from pythonaudit.agent.problems import Problems
from pythonaudit.errors import StoreError

_SECOND_NS = 1_000_000_000
_COUNTERS = {
    "events_sealed": ("sealed", "Events that were sealed."),
    "seals": ("seals", "Times that events were sealed."),
    "seal_seconds": ("seal_seconds", "Time that sealing took."),
    "events_archived": ("archived", "Events that were archived."),
    "segments_archived": ("archived_segments", "Segments that were archived."),
    "archive_bytes_written": ("archived_bytes", "Bytes of the parts that were written."),
    "archive_seconds": ("archive_seconds", "Time that archiving took."),
    "events_dropped": ("dropped", "Events that retention removed from the archive."),
    "segments_gone": ("gone", "Segments that were sealed, and lost before they were archived."),
    "checkpoints_posted": ("posted", "Checkpoints that went to other places."),
    "checkpoint_post_failures": ("post_failures", "Checkpoints that did not get to another place."),
}
_EXPORTS = {
    "sent": ("events_sent", "Events that a target has acknowledged."),
    "refused": ("events_refused", "Events that a target would not take."),
    "gone": ("segments_gone", "Segments that had gone before they were sent."),
}
_GAUGES = {
    "segments_watched": ("segments", "Segments that are watched."),
    "processes_watched": ("processes", "Processes that are watched."),
    "segments_closed": ("closed", "Segments that have closed and are not archived."),
    "segments_closed_bytes": ("closed_bytes", "How large these are."),
    "closed_waiting_seconds": ("waiting", "Since the first of these has closed."),
    "lag_seconds": ("lag", "From a commit to its seal, at most, when something was sealed last."),
}


class Metrics(Collector):
    """Answers GET /metrics.

    Args:
        address: loopback address and port.
        figures, problems: what is told.
        version: of pythonaudit.

    Raises:
        StoreError: there is no listening there.
    """

    def __init__(self, address: tuple[str, int], figures: Figures, problems: Problems, version: str) -> None:
        self._figures = figures
        self._problems = problems
        self._version = version
        registry = CollectorRegistry()
        registry.register(self)
        ProcessCollector(registry=registry)
        host, port = address
        try:
            served: tuple[WSGIServer, threading.Thread] = start_http_server(port, host, registry)
        except OSError as error:
            hint = "choose another one: agent.metrics in the configuration"
            raise StoreError(f"metrics at {host}:{port}: {error.strerror}", hint=hint) from None
        self._server, self._thread = served

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_port)

    def collect(self) -> Iterable[Metric]:
        """All that is told, now."""
        yield InfoMetricFamily("pythonaudit_agent", "This agent.", value={"version": self._version})
        for name, (attribute, meaning) in _COUNTERS.items():
            yield CounterMetricFamily(f"pythonaudit_{name}", meaning, value=getattr(self._figures, attribute))
        for name, (attribute, meaning) in _GAUGES.items():
            yield GaugeMetricFamily(f"pythonaudit_{name}", meaning, value=getattr(self._figures, attribute))
        yield GaugeMetricFamily(
            "pythonaudit_checkpoint_timestamp_seconds",
            "When the last checkpoint was signed.",
            value=self._figures.checkpoint_ns / _SECOND_NS,
        )
        yield CounterMetricFamily("pythonaudit_problems", "What went wrong.", value=self._problems.count)
        losses = CounterMetricFamily(
            "pythonaudit_losses", "What processes say they could not record.", labels=["uid", "reason"]
        )
        for uid, counts in self._figures.losses.items():
            for reason, count in counts.items():
                losses.add_metric([str(uid), reason], count)
        yield losses
        yield from self._collect_exports()
        detection = self._figures.detection
        if detection:
            yield CounterMetricFamily(
                "pythonaudit_events_matched", "Events held against rules.", value=detection["events"]
            )
            yield CounterMetricFamily("pythonaudit_alerts", "Alerts.", value=detection["alerts"])
            yield GaugeMetricFamily("pythonaudit_rules", "Rules in force.", value=detection["rules"])
            yield GaugeMetricFamily(
                "pythonaudit_detection_behind_seconds",
                "Age of the first event that waits.",
                value=detection.get("behind", 0.0),
            )

    def _collect_exports(self) -> Iterable[Metric]:
        behind = GaugeMetricFamily(
            "pythonaudit_export_behind_seconds", "Age of the first event that waits.", labels=["export"]
        )
        counters = {
            kind: CounterMetricFamily(f"pythonaudit_export_{name}", meaning, labels=["export"])
            for kind, (name, meaning) in _EXPORTS.items()
        }
        for export, said in self._figures.exports.items():
            behind.add_metric([export], said.get("behind", 0.0))
            for kind, counter in counters.items():
                counter.add_metric([export], said[kind])
        yield from (behind, *counters.values())

    def end(self) -> None:
        """Answers no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
