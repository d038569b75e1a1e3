"""`rapport restore` and `rapport backup` where something fails."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.chassis.backup import manifest
from services.chassis.backup.manifest import FORMAT, Manifest
from services.operator.backups import one_shots
from services.operator.commands.backup import backup
from services.operator.commands.restore import next_commands, restore
from services.operator.failures import Failed


def result_of(service: str, *, already: bool = False, dry_run: bool = False) -> dict[str, Any]:
    """Return what the restore role of a service prints."""
    return {
        "service": service,
        "taken_at": "2026-11-27T12:00:00Z",
        "rows": 3,
        "resync": [] if already else ["posts"],
        "epoch": None if already else 1795780000,
        "counters": {"comments lost": 2},
        "migrations": [],
        "again_only_since": "2026-11-27T13:00:00Z",
        "already": already,
        "dry_run": dry_run,
    }


def test_what_was_restored_before_a_failure_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    async def run(service: str, role: str, folder: Path, *options: str) -> dict[str, Any]:
        if service == "posts" and "--dry-run" not in options:
            raise Failed("The database of posts did not answer in time.")
        return result_of(service, dry_run="--dry-run" in options)

    monkeypatch.setattr(one_shots, "run", run)
    for service in ("comments", "posts"):
        monkeypatch.setenv(f"{service.upper()}_DATABASE_URL", "postgresql://database")
    with pytest.raises(Failed, match="did not answer in time"):
        restore(tmp_path, ["comments", "posts"])
    said = capsys.readouterr().err
    assert "comments has 3 rows" in said
    assert "comments lost: 2" in said
    assert "nothing from before 2026-11-27T13:00:00Z" in said


def test_a_repetition_lets_every_owner_state_what_an_interrupted_call_may_have_lacked(tmp_path: Path) -> None:
    (tmp_path / "notify").mkdir()
    snapshot = Manifest(
        format=FORMAT,
        service="notify",
        taken_at=datetime(2026, 11, 27, 12, tzinfo=UTC),
        epoch=0,
        server_version="18.1",
        outbox_retention_days=7,
        inbox_retention_days=120,
        migrations=(),
        tables=(),
        offsets=None,
    )
    manifest.write(tmp_path / "notify", snapshot.sealed())

    def resyncs(*, already: bool) -> list[str]:
        commands = next_commands(tmp_path, [result_of("notify", already=already)])
        return [command for command in commands if "resync" in command]

    assert resyncs(already=False) == ["rapport resync posts"]
    assert resyncs(already=True) == ["rapport resync posts", "rapport resync comments", "rapport resync people"]


@pytest.mark.parametrize("verify", [False, True])
def test_a_folder_that_cannot_be_named_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, verify: bool
) -> None:
    monkeypatch.setenv("POSTS_DATABASE_URL", "postgresql://database")
    with pytest.raises(Failed, match="cannot be used: File name too long"):
        backup(tmp_path / ("a" * 300), only=["posts"], verify=verify)
