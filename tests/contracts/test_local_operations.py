"""docs/operations.md lists exactly the variables and metrics that exist."""

import importlib
import re
from pathlib import Path

import pytest
from prometheus_client import Counter
from pydantic_settings import BaseSettings

from deploy.local.layout import PORTS, SECRETS, SERVICES

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docs/operations.md").read_text()
DECLARED = re.compile(r"\b(Counter|Gauge|Histogram)\(\s*\"(rapport_\w+)\"")
OTHERS = {"KAFKA_JARS", "RAPPORT_HOME", "OPERATOR_SIGNING_KEY", "POSTS_KAFKA_USERNAME", *PORTS}
COMPOSE = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
SECRET_FILES = {f"{name}_FILE" for name in SECRETS}


def settings_classes() -> list[type[BaseSettings]]:
    names = [*(f"services.{service}.settings" for service in SERVICES), "services.chassis.mail.smtp"]
    modules = [importlib.import_module(name) for name in names]
    classes = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    found = (kind for kind in classes if issubclass(kind, BaseSettings) and kind is not BaseSettings)
    return sorted(found, key=lambda kind: kind.__name__)


def variables() -> set[str]:
    return {name.upper() for found in settings_classes() for name in found.model_fields}


def metrics() -> set[str]:
    found = set()
    for file in (ROOT / "services").rglob("*.py"):
        for kind, name in DECLARED.findall(file.read_text()):
            found.add(f"{name}_total" if kind == Counter.__name__ else name)
    return found


def test_every_variable_is_explained() -> None:
    assert {name for name in variables() if f"`{name}`" not in TEXT} == set()


def test_every_explained_variable_exists() -> None:
    named = set(re.findall(r"`([A-Z][A-Z0-9]*_[A-Z0-9_]+|HOST|INSTANCE|ENVIRONMENT)`", TEXT))
    assert named - variables() - OTHERS - COMPOSE - SECRET_FILES == set()


def test_exactly_the_existing_metrics_are_listed() -> None:
    assert metrics() == set(re.findall(r"`(rapport_\w+)`", TEXT))


@pytest.mark.parametrize("settings", settings_classes(), ids=lambda found: found.__name__)
def test_defaults_match_the_table(settings: type[BaseSettings]) -> None:
    rows = dict(row for line in TEXT.splitlines() if (row := table_row(line)))
    for name, field in settings.model_fields.items():
        if name.upper() in rows and isinstance(field.default, int | float):
            assert float(rows[name.upper()]) == field.default, name


def table_row(line: str) -> tuple[str, str] | None:
    """Return variable and default of a table row about one variable with a number."""
    found = re.match(r"\| `([A-Z_]+)` \| ([0-9.]+) \|", line)
    return (found[1], found[2]) if found else None


@pytest.mark.parametrize("name", ["README.md", "docs/operations.md"])
def test_the_command_for_containers_has_a_mailbox_and_an_administrator(name: str) -> None:
    """Without the profile no mail arrives, and without an administrator nobody may publish."""
    lines = [line.strip() for line in (ROOT / name).read_text().splitlines() if line.startswith("    ")]
    started = [line for line in lines if re.search(r"docker compose\b.*\bup( |$)", line)]
    assert started == ["ADMIN_EMAILS=you@example.com docker compose --profile dev up --wait"]


@pytest.mark.parametrize("name", ["README.md", "docs/operations.md"])
def test_the_operator_s_command_is_said_so_that_it_runs_beside_make_up(name: str) -> None:
    assert 'make rapport ARGS="person grant robin@example.com author"' in (ROOT / name).read_text()
