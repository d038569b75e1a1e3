"""Events: from the outbox to Kafka, and from Kafka to handlers."""
