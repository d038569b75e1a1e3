"""PostgreSQL: the pool, migrations, idempotency keys and work queues."""
