"""The fixture ``broker``: the Kafka that the live tests share."""

from tests.kafka.shared_broker import broker, kafka_broker

__all__ = ["broker", "kafka_broker"]
