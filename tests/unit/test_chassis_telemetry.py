"""Logs with one JSON object per line, and metrics with few labels."""

import ast
import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

from prometheus_client import REGISTRY
from prometheus_client.exposition import generate_latest

import services
from services.chassis.runtime import telemetry
from services.chassis.runtime.context import working_as
from services.chassis.runtime.metrics import Counter, Gauge, Histogram, Shown
from services.notify.delivery import Delivery

PROGRAM = """
import asyncio, logging, warnings
import structlog
from services.chassis.runtime.context import Context, bound, working_as
from services.chassis.runtime.telemetry import set_up_logging

set_up_logging("example", "INFO")
log = structlog.get_logger("here")
with working_as("orders"):
    log.info("of a service in this process")
with bound(Context("request-7")):
    log.info("one\\ntwo", count=1, odd=object, wild="\\u2028 {json: }")
    logging.getLogger("elsewhere").warning("from the %s library", "standard")
log.debug("not shown")
logging.getLogger("aiokafka").info("not shown")
for number in range(5):
    logging.getLogger("aiokafka.client").error("attempt %d", number)
logging.getLogger("uvicorn.access").info("not shown")
warnings.warn("careful", stacklevel=1)
try:
    password = "hunter2"
    raise ValueError("wrong")
except ValueError:
    log.exception("failed")
"""


def test_log_lines_are_json_objects() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    lines: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.rstrip("\n").split("\n")]
    _, first, standard, once, warning, failure = lines
    assert [line["service"] for line in lines] == ["orders", *["example"] * 5]
    assert (once["message"], once["level"]) == ("attempt 0", "error")
    assert first["message"] == "one\ntwo"
    assert first["request_id"] == standard["request_id"] == "request-7"
    assert first["service"] == standard["service"] == "example"
    assert (first["logger"], first["level"], first["count"]) == ("here", "info", 1)
    assert first["wild"] == "\u2028 {json: }"
    assert first["time"].endswith("Z")
    assert (standard["logger"], standard["message"]) == ("elsewhere", "from the standard library")
    assert "careful" in warning["message"]
    assert "request_id" not in warning
    assert failure["exception"][0]["exc_value"] == "wrong"
    assert "hunter2" not in done.stdout
    assert done.stderr == ""


def test_metrics_have_the_prefix_and_few_labels() -> None:
    """No id, path or text of a client can become a label."""
    allowed = {
        "method",
        "route",
        "status",
        "database",
        "topic",
        "partition",
        "reason",
        "group",
        "outcome",
        "type",
        "cause",
        "table",
        "upstream",
        "state",
        "kind",
        "work",
        "role",
        "service",
        "version",
        "kid",
        "thumbprint",
        "number",
    }
    ours = [metric.own for metric in vars(telemetry).values() if isinstance(metric, Counter | Gauge | Histogram)]
    assert len(ours) > 15
    for metric in ours:
        assert metric._name.startswith("rapport_")
        assert set(metric._labelnames) <= allowed
    assert {metric.name for metric in REGISTRY.collect()} >= {metric._name for metric in ours}


def test_counters_that_alarms_use_are_there_at_zero() -> None:
    """An increase is seen only by whoever saw the counter before."""
    telemetry.begin_group("unhurt")
    telemetry.begin_producers()
    Delivery(*[MagicMock()] * 4, first_retry=timedelta(0), give_up=timedelta(0))
    for name, labels in [
        ("rapport_dead_letters_total", {"group": "unhurt", "cause": "undecodable"}),
        ("rapport_dead_letters_total", {"group": "unhurt", "cause": "handler"}),
        ("rapport_consumers_discarded_total", {"group": "unhurt"}),
        ("rapport_consumer_commits_failed_total", {"group": "unhurt"}),
        ("rapport_producers_discarded_total", {"reason": "failed"}),
        ("rapport_mail_ended_total", {"state": "failed", "why": "refused_by_server"}),
        ("rapport_mail_ended_total", {"state": "failed", "why": "gave_up"}),
    ]:
        assert REGISTRY.get_sample_value(name, labels) is not None, (name, labels)


def test_each_service_of_a_process_has_metrics_of_its_own() -> None:
    done = Counter("rapport_test_done", "What is done", ["work"])
    waiting = Gauge("rapport_test_waiting", "What waits")
    for service, count in (("orders", 2), ("bills", 5)):
        with working_as(service):
            done.labels("the same").inc(count)
            waiting.set(count)
    orders, bills, neither = (generate_latest(Shown(name)).decode() for name in ("orders", "bills", "letters"))
    assert 'rapport_test_done_total{service="orders",work="the same"} 2.0' in orders
    assert 'rapport_test_done_total{service="bills",work="the same"} 5.0' in bills
    assert 'rapport_test_waiting{service="bills"} 5.0' in bills
    assert "bills" not in orders
    assert "rapport_test" not in neither
    for shown in (orders, bills, neither):
        assert shown.count("# TYPE rapport_loop_lag_seconds") == shown.count("# TYPE process_cpu_seconds_total") == 1


def test_no_metric_of_a_service_is_one_of_the_process() -> None:
    """Metrics that are made with the library itself would be shown by every service of a process."""
    own = re.compile(r"^from prometheus_client import .*\b(Counter|Gauge|Histogram|Summary)\b", re.MULTILINE)
    files = {file.name: file.read_text() for file in Path(services.__path__[0]).rglob("*.py")}
    assert [name for name, text in files.items() if own.search(text)] == []
    made = [
        name for name, text in files.items() if re.search(r"prometheus_client\.(Counter|Gauge|Histogram)\(\"", text)
    ]
    assert made == ["telemetry.py"]  # the lag of the loop


def test_no_module_looks_up_a_labelled_metric_when_it_is_loaded() -> None:
    """Then no service works yet, and one process with all of them would count for none."""
    found = [
        f"{file.name}:{call.lineno}"
        for file in Path(services.__path__[0]).rglob("*.py")
        for statement in ast.parse(file.read_text()).body
        if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.Expr))
        for call in ast.walk(statement)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "labels"
    ]
    assert found == []
