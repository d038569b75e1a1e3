"""`rapport restore` and `rapport backup` where something fails."""

from pathlib import Path
from typing import Any

import pytest

from services.operator.backups import one_shots
from services.operator.commands.backup import backup
from services.operator.commands.restore import restore
from services.operator.failures import Failed


def test_what_was_restored_before_a_failure_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    async def run(service: str, role: str, folder: Path, *options: str) -> dict[str, Any]:
        if service == "posts" and "--dry-run" not in options:
            raise Failed("The database of posts did not answer in time.")
        return {
            "service": service,
            "taken_at": "2026-11-27T12:00:00Z",
            "rows": 3,
            "resync": ["posts"],
            "epoch": 1795780000,
            "counters": {"comments lost": 2},
            "migrations": [],
            "again_only_since": "2026-11-27T13:00:00Z",
            "already": False,
            "dry_run": "--dry-run" in options,
        }

    monkeypatch.setattr(one_shots, "run", run)
    for service in ("comments", "posts"):
        monkeypatch.setenv(f"{service.upper()}_DATABASE_URL", "postgresql://database")
    with pytest.raises(Failed, match="did not answer in time"):
        restore(tmp_path, ["comments", "posts"])
    said = capsys.readouterr().err
    assert "comments has 3 rows" in said
    assert "comments lost: 2" in said
    assert "nothing from before 2026-11-27T13:00:00Z" in said
    assert "rapport resync posts" in said


@pytest.mark.parametrize("verify", [False, True])
def test_a_folder_that_cannot_be_named_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, verify: bool
) -> None:
    monkeypatch.setenv("POSTS_DATABASE_URL", "postgresql://database")
    with pytest.raises(Failed, match="cannot be used: File name too long"):
        backup(tmp_path / ("a" * 300), only=["posts"], verify=verify)
