"""Who comes while a stack starts sees the lines of that start, and none of earlier ones."""

import os
from pathlib import Path

import pytest

from deploy.local import commands
from deploy.local.background import state
from deploy.local.layout import Layout
from deploy.local.processes import Identity
from deploy.local.stack import Stack

EARLIER = "12:00:00 an earlier start failed\n"


def test_a_second_up_follows_the_start_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, followed = Layout(tmp_path, {"PATH": os.environ["PATH"]}), []
    log = layout.log_folder / "supervisor.log"
    log.parent.mkdir(parents=True)
    log.write_text(EARLIER)
    running = Identity.of(os.getpid())
    assert running is not None
    stack = Stack(layout, log_begins=len(EARLIER))
    stack.write_state()

    def follow(layout: Layout, running: Identity, log: Path, shown: int, **_: object) -> None:
        followed.append(log.read_text()[shown:])
        stack.enter("ready")

    monkeypatch.setattr(commands, "follow", follow)
    with log.open("a") as lines:
        lines.write("12:30:00 PostgreSQL starts\n")
    commands.look_again(layout, running)
    assert followed == ["12:30:00 PostgreSQL starts\n"]
    assert state(layout)["phase"] == "ready"
