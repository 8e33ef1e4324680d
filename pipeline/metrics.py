"""Every metric of a worker: name, type, labels and meaning. Dashboards and alerts use no others: a test says so.

Names follow the conventions of Prometheus: base units, ``_total`` for counters, instants instead of ages. No label
holds an id of a person or an event.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pipeline.wire.admission import REASONS

OUTCOMES: Final = ("applied", "repeated", "late", "dead_letter", "misplaced")
"""What becomes of a record that is consumed: exactly one of these."""

INVARIANTS: Final = ("records_accounted", "shares_sum", "credited_once", "balance_equals_entries")

ANSWERS: Final = ("2xx", "3xx", "4xx", "5xx", "none")
"""How an endpoint answers; none: not in time, or not at all."""

ENDS: Final = ("delivered", "dead")
"""What becomes of a notice in the end."""

_LATENCY_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)


class Metrics:
    """The metrics of one worker, in a registry of their own."""

    def __init__(self, steps: Sequence[str]) -> None:
        self.registry = CollectorRegistry()
        self.consumed = self._counter("referral_events_consumed", "Records read from an input topic.", ["type"])
        self.events = self._counter(
            "referral_events", "What became of the records read: each is in exactly one outcome.", ["type", "outcome"]
        )
        self.dead_letters = self._counter("referral_dead_letters", "Records that were not admitted.", ["reason"])
        self.late = self._counter("referral_late_events", "Events that came too late to count.", ["type"])
        self.lag = self._gauge(
            "referral_consumer_lag_messages",
            "Records of a partition that are not settled yet.",
            ["topic", "partition"],
        )
        self.lag_seconds = self._gauge(
            "referral_consumer_lag_seconds", "Age of the oldest record that is not settled yet.", ["step"]
        )
        self.watermark = self._gauge(
            "referral_watermark_timestamp_seconds", "The pipeline's watermark: how far event time has come."
        )
        self.final_through = self._gauge(
            "referral_final_through_timestamp_seconds", "Outcomes dated up to here are final."
        )  # fmt: skip
        self.latency = self._histogram(
            "referral_event_lag_seconds",
            "From the time in Kafka of the oldest record of an insert to its row in ClickHouse.",
            ["table"],
        )
        self.insert = self._histogram("referral_clickhouse_insert_seconds", "One insert.", ["table"])
        self.insert_failures = self._counter(
            "referral_clickhouse_insert_failures", "Inserts that failed and were repeated."
        )  # fmt: skip
        self.waiting_rows = self._gauge("referral_clickhouse_waiting_rows", "Rows that ClickHouse has not stored yet.")
        self.state_bytes = self._gauge("referral_state_bytes", "State on disk.", ["step"])
        self.partitions = self._gauge("referral_partitions_ready", "Partitions that take records.", ["step"])
        self.milestones = self._counter(
            "referral_milestones_reached", "Times that a milestone was reached.", ["program", "milestone", "scope"]
        )
        self.milestones_revoked = self._counter(
            "referral_milestones_revoked", "Times that a milestone was revoked.", ["program", "milestone", "scope"]
        )
        self.violations = self._counter(
            "referral_invariant_violations", "Times that a running check failed: must stay 0.", ["invariant"]
        )
        self.webhook_attempts = self._counter(
            "referral_webhook_attempts", "Requests to an endpoint, by how it answered.", ["endpoint", "answer"]
        )
        self.webhook_notices = self._counter(
            "referral_webhook_notices", "Notices that an endpoint took, or that were given up.", ["endpoint", "outcome"]
        )
        self.webhook_seconds = self._histogram("referral_webhook_attempt_seconds", "One request.", ["endpoint"])
        self.webhook_waiting = self._gauge(
            "referral_webhook_waiting_notices", "Notices that an endpoint has not taken yet.", ["endpoint"]
        )
        self.webhook_waiting_seconds = self._gauge(
            "referral_webhook_waiting_seconds", "How long the oldest of them has waited.", ["endpoint"]
        )
        self.restarts = self._gauge("referral_worker_started_timestamp_seconds", "When the worker began.")
        for event_type in ("click", "sign_up", "order", "refund"):  # a series that is not there cannot be alerted on
            self.consumed.labels(event_type)
            self.late.labels(event_type)
            for outcome in OUTCOMES:
                self.events.labels(event_type, outcome)
        for reason in REASONS:
            self.dead_letters.labels(reason)
        for invariant in INVARIANTS:
            self.violations.labels(invariant)
        for step in steps:
            self.partitions.labels(step)

    def expect_milestones(self, milestones: Iterable[tuple[str, str, str]]) -> None:
        """Show every milestone at 0: program, milestone and kind of scope (partner, group or program).

        A counter that is born at 1 is not seen to grow.
        """
        for names in milestones:
            self.milestones.labels(*names)
            self.milestones_revoked.labels(*names)

    def expect_endpoints(self, endpoints: Iterable[str]) -> None:
        """Show every endpoint at 0."""
        for endpoint in endpoints:
            self.webhook_waiting.labels(endpoint)
            self.webhook_waiting_seconds.labels(endpoint)
            for answer in ANSWERS:
                self.webhook_attempts.labels(endpoint, answer)
            for outcome in ENDS:
                self.webhook_notices.labels(endpoint, outcome)

    def _counter(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(name, meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(name, meaning, labels, registry=self.registry)

    def _histogram(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Histogram:
        return Histogram(name, meaning, labels, buckets=_LATENCY_S, registry=self.registry)
