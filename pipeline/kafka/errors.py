"""What can go wrong between this machine and Kafka, by what the caller does next. Every text names the remedy."""

from __future__ import annotations


class BrokerError(Exception):
    """The local Kafka cannot be had, does not start or does not answer."""


class UnreachableError(Exception):
    """No broker answers, or it refuses us: the same call may succeed once that is put right (exit status 1)."""


class RefusedError(UnreachableError):
    """A broker answers, but not to us: its text names the settings to put right. To try again alone does not help."""


class KafkaSettingsError(Exception):
    """Settings that cannot be used; the text names the variable (exit status 2)."""


class TopicsError(Exception):
    """Topics are missing, or are not as declared; the text names each with what was expected and found."""


class DeliveryError(Exception):
    """A record was not taken by the broker; the text names it. What was not confirmed is sent again by the next run."""
