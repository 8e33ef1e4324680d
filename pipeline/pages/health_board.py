"""The dashboard of the live pipeline's health: its panels over the metrics of :mod:`pipeline.metrics` alone."""

from __future__ import annotations

from typing import Final

from pipeline.pages.grafana import Metric

_RATE = "[$__rate_interval]"
_QUANTILES = (("0.5", "half"), ("0.95", "95 of 100"), ("0.99", "99 of 100"))
HEALTH_BOARD: Final = (
    Metric(
        "Workers", "Workers that answer now.", (("count(referral_worker_started_timestamp_seconds)", "workers"),),
        "locale", 4, 5, "stat",
    ),
    Metric(
        "Final through", "Outcomes dated up to this moment are final.",
        (("max(referral_final_through_timestamp_seconds) * 1000 > 0", "final through"),), "dateTimeAsIso", 5, 5, "stat",
    ),
    Metric(
        "Watermark", "How far event time has come: the least of all inputs that are not idle.",
        (("max(referral_watermark_timestamp_seconds) * 1000 > 0", "watermark"),), "dateTimeAsIso", 5, 5, "stat",
    ),
    Metric(
        "Failed checks",
        "Running checks that failed since the workers began. Anything but 0 is a bug: see the worker's log.",
        (("sum(referral_invariant_violations_total)", "violations"),), "locale", 5, 5, "stat", 1,
    ),
    Metric(
        "Rows that wait",
        "Rows that ClickHouse has not stored yet. It grows while ClickHouse is away, and nothing is lost.",
        (("sum(referral_clickhouse_waiting_rows)", "rows"),), "locale", 5, 5, "stat",
    ),
    Metric(
        "Records read", "Records of each type that the workers read from Kafka, a second.",
        ((f"sum by (type) (rate(referral_events_consumed_total{_RATE}))", "{{type}}"),), "cps", 12, 8,
    ),
    Metric(
        "What became of them",
        "Each record has exactly one outcome: applied, a repeat, late, a dead letter, or sent on to its "
        "right key (misplaced).",
        ((f"sum by (outcome) (rate(referral_events_total{_RATE}))", "{{outcome}}"),), "cps", 12, 8,
    ),
    Metric(
        "Lag in records", "Records of each topic that are not settled yet.",
        (("sum by (topic) (referral_consumer_lag_messages)", "{{topic}}"),), "locale", 12, 8,
    ),
    Metric(
        "Lag in time", "Age of the oldest record that each step has not settled.",
        (("max by (step) (referral_consumer_lag_seconds)", "{{step}}"),), "s", 12, 8,
    ),
    Metric(
        "Watermark behind the clock",
        "How far event time, and what is final, trail the clock. A line that rises steadily has "
        "stalled: look for an input that is behind, or a clock that is wrong.",
        (
            ("time() - max(referral_watermark_timestamp_seconds > 0)", "watermark"),
            ("time() - max(referral_final_through_timestamp_seconds > 0)", "final through"),
        ), "s", 12, 8,
    ),
    Metric(
        "Time to a row", "From a record's time in Kafka to its row in ClickHouse, by insert.",
        tuple(
            (f"histogram_quantile({each}, sum by (le) (rate(referral_event_lag_seconds_bucket{_RATE})))", name)
            for each, name in _QUANTILES
        ), "s", 12, 8,
    ),
    Metric(
        "Time of an insert", "How long ClickHouse takes for one insert, by table: 95 of 100 are quicker.",
        ((
            f"histogram_quantile(0.95, sum by (le, table) (rate(referral_clickhouse_insert_seconds_bucket{_RATE})))",
            "{{table}}",
        ),), "s", 12, 8,
    ),
    Metric(
        "Inserts that failed", "Inserts that failed and were repeated, a second.",
        ((f"sum(rate(referral_clickhouse_insert_failures_total{_RATE}))", "failed"),), "cps", 12, 8,
    ),
    Metric(
        "Dead letters",
        "Records that were not admitted, by reason, in the time shown. The table dead_letters has them whole.",
        (("sum by (reason) (increase(referral_dead_letters_total[$__range]))", "{{reason}}"),), "locale", 12, 8, "stat",
    ),
    Metric(
        "Late events",
        "Events that came too late to count, by type, in the time shown. The table late_events has them whole, and "
        "a replay can admit them.",
        (("sum by (type) (increase(referral_late_events_total[$__range]))", "{{type}}"),), "locale", 12, 8, "stat",
    ),
    Metric(
        "Milestones",
        "Times that milestones were reached and revoked since the workers began. Who, is in the table milestones.",
        (
            ("sum by (program, milestone) (referral_milestones_reached_total)", "{{program}} {{milestone}} reached"),
            (
                "sum by (program, milestone) (referral_milestones_revoked_total) > 0",
                "{{program}} {{milestone}} revoked",
            ),
        ), "locale", 12, 8,
    ),
    Metric(
        "Partitions ready", "Partitions of each step that take records; those being restored are not among them.",
        (("sum by (step) (referral_partitions_ready)", "{{step}}"),), "locale", 12, 8,
    ),
    Metric(
        "State on disk", "What each step's state takes on the workers' disks.",
        (("sum by (step) (referral_state_bytes)", "{{step}}"),), "bytes", 12, 8,
    ),
)  # fmt: skip
