"""The rules for Prometheus: each names metrics that exist, has a runbook page, and rings in a test of promtool."""

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.installed import program

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "deploy/observability"
DECLARED = re.compile(r"\b(Counter|Gauge|Histogram)\(\s*\"(rapport_\w+)\"")


def rules() -> list[dict[str, Any]]:
    loaded = yaml.safe_load((FOLDER / "rapport.rules.yaml").read_text())
    return [rule for group in loaded["groups"] for rule in group["rules"]]


def test_every_metric_of_a_rule_exists() -> None:
    found = [match for file in (ROOT / "services").rglob("*.py") for match in DECLARED.findall(file.read_text())]
    known = {f"{name}_total" if kind == "Counter" else name for kind, name in found}
    for rule in rules():
        used = set(re.findall(r"rapport_\w+", rule["expr"]))
        assert used and used <= known, (rule["alert"], used - known)


def test_every_rule_has_a_page_and_every_page_a_rule() -> None:
    names = {rule["alert"] for rule in rules()}
    assert {page.stem for page in (ROOT / "docs/runbooks").glob("*.md")} == names
    for rule in rules():
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{rule['alert']}.md"
        assert rule["expr"] in (ROOT / rule["annotations"]["runbook_url"]).read_text()
        assert rule["labels"]["severity"] in ("critical", "warning")


def test_every_alarm_rings_and_stops_in_a_test() -> None:
    loaded = yaml.safe_load((FOLDER / "rapport.rules.test.yaml").read_text())
    rung: dict[str, list[bool]] = {}
    for case in loaded["tests"]:
        for check in case["alert_rule_test"]:
            rung.setdefault(check["alertname"], []).append(bool(check["exp_alerts"]))
    assert rung == {rule["alert"]: [False, True, False] for rule in rules()}


def test_promtool_finds_that_each_rings_at_its_fault_and_stops_after_it() -> None:
    command = [program("promtool"), "test", "rules", str(FOLDER / "rapport.rules.test.yaml")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
