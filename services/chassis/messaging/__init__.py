"""Events: the transactional outbox, its relay to Kafka, and consumers with an inbox."""
