"""The fixture ``broker`` of the tests in this folder."""

from tests.kafka.shared_broker import broker, kafka_broker

__all__ = ["broker", "kafka_broker"]
