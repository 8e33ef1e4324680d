"""Kafka: a local broker from pip, topics as declared in ``schemas/topics``, clients, and files sent to the topics."""
