"""Memory and disk: `make up` says what it needs and what is missing, before it starts anything."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy.local import checks, commands, resources
from deploy.local.layout import DATABASES, Layout
from deploy.local.processes import LocalError
from deploy.local.resources import Room

ENOUGH = Room(10_000, 10_000)
GIVEN = {
    "KAFKA_BOOTSTRAP_SERVERS": "broker:9092",
    "REDIS_URL": "redis://cache:6379",
    "SMTP_HOST": "mail",
    **{f"{name.upper()}_DATABASE_URL": f"postgresql://db/{name}" for name in DATABASES},
}


@pytest.mark.parametrize(
    ("has", "missing"),
    [
        (Room(500, 10_000), ["memory, 500 are free: {memory} MiB are missing"]),
        (Room(10_000, 99), ["MiB, 99 are free, {disk} are missing. Free some, or set RAPPORT_HOME"]),
        (Room(0, 0), ["memory, 0 are free: {memory} MiB are missing", "MiB, 0 are free, {disk} are missing"]),
    ],
)
def test_what_is_missing_is_told_with_numbers_before_anything_starts(
    has: Room, missing: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(resources, "free", lambda _: has)
    needs = resources.needed(Layout(tmp_path, {}))
    with pytest.raises(LocalError) as refusal:
        commands.up(Layout(tmp_path, {}))
    lines = str(refusal.value).splitlines()
    assert len(lines) == len(missing)
    for line, words in zip(lines, missing, strict=True):
        assert words.format(memory=needs.memory - has.memory, disk=needs.disk - has.disk) in line
    said = " ".join(capsys.readouterr().out.split())
    assert f"needs {needs.memory} MiB of memory and {needs.disk} MiB of disk" in said
    assert f"{has.memory} and {has.disk} MiB are free" in said
    assert not (tmp_path / "supervisor.json").exists()
    assert not (tmp_path / "log").exists()


def test_servers_elsewhere_need_nothing_here(tmp_path: Path) -> None:
    everything, services = resources.needed(Layout(tmp_path, {})), resources.needed(Layout(tmp_path, GIVEN))
    assert services.memory < everything.memory - resources.KAFKA.memory
    assert services.disk < 100
    (tmp_path / "kafka").mkdir()
    assert resources.needed(Layout(tmp_path, {})).disk == everything.disk - resources.JARS.disk
    resources.check(Layout(tmp_path, {}), everything, ENOUGH)


def test_the_free_memory_is_that_of_the_machine_and_its_swap(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 8000 kB\nMemAvailable:  5000 kB\nSwapFree:  1000 kB\nHuge: 0\n")
    assert resources.free_memory(tmp_path, tmp_path) == 6000 * 1024
    assert resources.free_memory() > 0  # of the machine that runs this test


def test_a_limit_of_a_control_group_counts(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self/cgroup").write_text("0::/system/build\n")
    (tmp_path / "meminfo").write_text("MemAvailable: 500000 kB\nSwapFree: 0 kB\n")
    own = tmp_path / "system/build"
    own.mkdir(parents=True)
    for group, most in ((own, "max"), (own.parent, "300000000")):
        (group / "memory.max").write_text(most)
        (group / "memory.current").write_text("250000000")
        (group / "memory.stat").write_text("anon 1\ninactive_file 20000000\n")
    assert resources.free_memory(tmp_path, tmp_path) == 70_000_000


def test_a_disk_that_fills_up_is_named_when_a_start_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    with pytest.raises(LocalError, match=r"disk of .* is full: Rapport needs 50 MiB, 0 are free.*RAPPORT_HOME"):
        checks.check_home(Layout(tmp_path, {}))
