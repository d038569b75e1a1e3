"""What `make up` and `make status` say about one part."""

import json
import os
import time
from pathlib import Path

import pytest

from deploy.local import background, commands
from deploy.local.layout import Layout
from deploy.local.processes import Identity
from deploy.local.unit_state import UnitState


def line(level: str, message: str) -> str:
    return (
        json.dumps({"time": "2026-11-23T10:00:00.123Z", "level": level, "service": "posts", "message": message}) + "\n"
    )


def test_lines_that_matter_are_those_of_the_process_that_ended(tmp_path: Path) -> None:
    log = tmp_path / "posts.log"
    before = line("error", "an earlier start")
    log.write_text(
        before + line("info", "started") + line("critical", "no database") + "Traceback\n" + line("info", "x")
    )
    found = UnitState(
        "posts", "waiting", None, 0, failures=5, ended_at=time.time(), last_end="status 1",
        ended_from=len(before), log=str(log),
    )  # fmt: skip
    first, _, *shown, where = found.failure().splitlines()
    assert first == f"posts does not stay up: it ended 5 times in a row, the last time at {found.end}."
    assert found.end.endswith(" status 1")
    assert [words.split()[-1] for words in shown] == ["database", "Traceback"]
    assert all(words.startswith("    ") for words in shown)  # to be shown as they are
    assert where == f"The whole log: {log}"


def test_where_no_line_matters_the_last_ones_are_shown(tmp_path: Path) -> None:
    log = tmp_path / "posts.log"
    log.write_text("".join(line("info", f"step {number}") for number in range(40)))
    shown = UnitState("posts", "unready", 7, 0, log=str(log)).failure().splitlines()
    assert shown[0] == "posts is not ready."
    assert "step 39" in shown[-2]
    assert len(shown) == 18
    assert "last lines" not in UnitState("posts", "unready", 7, 0, log=str(tmp_path / "none")).failure()


def test_an_end_of_another_day_has_its_date() -> None:
    assert UnitState("posts", "ready", 7, 0).end == ""
    assert UnitState("posts", "ready", 7, 0, ended_at=1.8e9, last_end="SIGKILL").end.startswith("01-1")


def test_the_state_of_an_earlier_version_is_read() -> None:
    row = {"name": "posts", "state": "ready", "pid": 7, "port": 1, "restarts": 0, "log": "", "moods": 3}
    assert UnitState.of(row).settled(0)
    assert not UnitState.of(row | {"state": "waiting"}).settled(0)


def test_status_shows_restarts_and_the_last_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"name": "posts", "state": "ready", "pid": os.getpid(), "port": 8101, "restarts": 3, "failures": 1,
         "ended_at": time.time(), "last_end": "SIGKILL", "log": "/log/posts.log"},
        {"name": "people", "state": "waiting", "pid": None, "port": 8103, "restarts": 12, "failures": 13,
         "ended_at": time.time() - 300_000, "last_end": "status 137", "log": "/log/people.log"},
    ]  # fmt: skip
    monkeypatch.setattr(commands, "supervisor", lambda _: Identity.of(os.getpid()))
    for module in (commands, background):
        monkeypatch.setattr(module, "state", lambda _: {"phase": "ready", "units": rows})
    assert not commands.status(Layout(tmp_path, {}))
    heading, _, posts, people, _, told = capsys.readouterr().out.splitlines()
    assert heading.endswith("restarts  last end")
    assert posts.split()[-3:-1][0] == "3"
    assert posts.endswith(" SIGKILL")
    assert people.endswith(" status 137")
    assert told == "people is not ready: /log/people.log"
    assert max(map(len, (heading, posts, people))) <= 80
