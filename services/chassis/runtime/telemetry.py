"""Telemetry: Prometheus metrics, and logs with one JSON object per line.

The metrics of the chassis are defined here, those of a service in the service. Labels have few values: never an id, a
path with ids, or a value that a client can choose.
"""

import logging
import sys
import time
from importlib import metadata
from typing import Any

import orjson
import prometheus_client
import structlog

from services.chassis.runtime.context import add_request_id
from services.chassis.runtime.context import service as working_service
from services.chassis.runtime.metrics import Counter, Gauge, Histogram

REPEAT_SECONDS = 10.0
QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

HTTP_REQUESTS = Counter("rapport_http_requests", "Requests answered", ["method", "route", "status"])
HTTP_SECONDS = Histogram("rapport_http_seconds", "Time to answer", ["method", "route"], buckets=QUICK)

POOL_SIZE = Gauge("rapport_database_connections", "Connections of the pool that are open", ["database"])
POOL_BUSY = Gauge("rapport_database_connections_busy", "Connections of the pool in use", ["database"])
POOL_MOST = Gauge("rapport_database_connections_most", "Connections that the pool may open", ["database"])

RELAY_OWNER = Gauge(
    "rapport_relay_owner", "Share of the service's outbox that this process publishes, 0 to 1", ["service"]
)
RELAY_BACKLOG = Gauge(
    "rapport_relay_backlog", "Unpublished rows of that share, counted up to 1,000 of each slice", ["service"]
)
RELAY_AGE = Gauge("rapport_relay_oldest_seconds", "Age of the oldest unpublished row of that share", ["service"])
RELAY_PUBLISHED = Counter("rapport_relay_published", "Outbox rows published", ["topic"])
RELAY_SECONDS = Histogram(
    "rapport_relay_seconds", "From the event's time to its acknowledgement by Kafka", buckets=QUICK
)
PRODUCERS_DISCARDED = Counter("rapport_producers_discarded", "Kafka producers discarded after a failure", ["reason"])

CONSUMED = Counter("rapport_consumer_records", "Records by outcome", ["group", "topic", "outcome"])
HANDLER_SECONDS = Histogram(
    "rapport_handler_seconds",
    "Time in one event's handler, or in that of a run of events",
    ["group", "type"],
    buckets=QUICK,
)
# of these two, each gateway measures all groups
CONSUMER_LAG = Gauge("rapport_consumer_lag", "Records the group has not handled yet", ["group", "topic"])
CONSUMER_STUCK = Gauge(
    "rapport_consumer_stuck_seconds", "How long a partition with such records has not moved", ["group", "topic"]
)
PARTITION_STOPPED = Gauge(
    "rapport_consumer_partition_stopped", "1 where too many records in a row failed", ["group", "topic", "partition"]
)
PARTITION_PAUSED = Gauge(
    "rapport_consumer_partition_paused", "1 where an operator has paused", ["group", "topic", "partition"]
)
CONSUMER_RETRIES = Counter("rapport_consumer_retries", "Failed attempts that are retried", ["group", "cause"])
CONSUMERS_DISCARDED = Counter("rapport_consumers_discarded", "Kafka consumers discarded after a failure", ["group"])
COMMITS_FAILED = Counter("rapport_consumer_commits_failed", "Failed offset commits", ["group"])
DEAD_LETTERS = Counter("rapport_dead_letters", "Records sent to the dead-letter topic", ["group", "cause"])

ROLE_RESTARTS = Counter("rapport_role_restarts", "Crashes of roles that start again alone", ["role"])
PRUNED = Counter("rapport_pruned_rows", "Expired rows deleted", ["table"])
PERIODIC_FAILURES = Counter("rapport_periodic_failures", "Failed runs of periodic work", ["work"])
PERIODIC_FAILING = Gauge("rapport_periodic_failing_runs", "Failed runs since the last one that succeeded", ["work"])
# of the whole process, whichever services share it
LOOP_LAG = prometheus_client.Gauge("rapport_loop_lag_seconds", "Lag of the event loop in the last second")
# public keys, by which the doctor sees that processes know each other
SIGNING_KEY = Gauge("rapport_signing_key", "1 for the key that this process signs with", ["kid", "thumbprint"])
VERIFICATION_KEY = Gauge(
    "rapport_verification_key", "1 for each key whose tokens this process may accept", ["kid", "thumbprint"]
)
ACCEPTED_SECRET = Gauge(
    "rapport_accepted_secret", "1 for each secret by which this process accepts what was derived", ["number"]
)
BUILD_INFO = Gauge("rapport_build_info", "1 for each process, with what it runs", ["version", "service"])

# An alarm on an increase rings at the first one only if the counter was there before, at 0.
DISCARD_REASONS = ("failed", "interrupted")
DEAD_LETTER_CAUSES = ("undecodable", "handler", "skipped")


def begin_producers() -> None:
    """Begin the counters of discarded producers at 0."""
    for reason in DISCARD_REASONS:
        PRODUCERS_DISCARDED.labels(reason)


def begin_group(group: str) -> None:
    """Begin the counters of a consumer group at 0."""
    for cause in DEAD_LETTER_CAUSES:
        DEAD_LETTERS.labels(group, cause)
    CONSUMERS_DISCARDED.labels(group)
    COMMITS_FAILED.labels(group)


def tell_version(service: str) -> None:
    """Set the metric of the version that a service runs."""
    try:
        version = metadata.version("rapport")
    except metadata.PackageNotFoundError:
        version = "unknown"
    BUILD_INFO.labels(version, service).set(1)


def set_up_logging(service: str, level: str) -> None:
    """Send structlog and the standard library's logging to stdout, one JSON object a line; line breaks are escaped.

    Args:
        service: whose entries they are, unless a service that works in this process says that they are its own.
    """

    def add_service(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["service"] = working_service() or service
        return event

    shared: list[structlog.typing.Processor] = [
        add_request_id,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        add_service,
        # never the values of local variables: they contain texts, tokens and addresses
        structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(_RateLimit())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.EventRenamer("message"),
                structlog.processors.JSONRenderer(serializer=_dumps),
            ],
            foreign_pre_chain=shared,
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.captureWarnings(True)
    for noisy in ("aiokafka", "uvicorn", "asyncio", "aiosmtplib"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level)))


class _RateLimit(logging.Filter):
    """Passes one message in ten seconds from each line of aiokafka's source, which logs every attempt in an outage."""

    def __init__(self) -> None:
        super().__init__()
        self._muted_until: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        line, now = (record.name, record.lineno), time.monotonic()
        if not record.name.startswith("aiokafka"):
            return True
        if record.msg == "Sending username and password in the clear":
            return False  # as KAFKA_SECURITY_PROTOCOL says; it would be repeated with every connection
        if now < self._muted_until.get(line, 0.0):
            return False
        self._muted_until[line] = now + REPEAT_SECONDS
        return True


def _dumps(value: object, **_: object) -> str:
    return orjson.dumps(value, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
