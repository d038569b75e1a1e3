"""The whole stack without Docker: real PostgreSQL, Valkey, Kafka and a mailbox from ordinary Python packages.

`python -m deploy.local up` runs it; the modules `postgres`, `valkey` and `kafka` are also what the tests start.
"""
