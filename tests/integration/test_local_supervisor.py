"""The supervisor with small stand-in processes: restarts with back-off, stop order, failing starts, log rotation."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from deploy.local.processes import Identity, LocalError, spawn, wait_until
from deploy.local.server import Server
from deploy.local.supervisor import Supervisor, Unit

SLEEPER = "import signal, sys; print('up', flush=True); signal.sigwait([signal.SIGTERM]); print('down', flush=True)"


class StandIn(Server):
    """A Python one-liner; ready once it printed `up`."""

    start_seconds: ClassVar[float] = 10
    stop_seconds: ClassVar[float] = 2

    def __init__(self, folder: Path, name: str, code: str = SLEEPER) -> None:
        self.name = name
        super().__init__(folder, 0)
        self._code = code

    def prepare(self) -> None:
        """Do nothing."""

    def command(self) -> Sequence[str | Path]:
        return [sys.executable, "-S", "-c", "import signal; signal.pthread_sigmask(0, [15]);" + self._code]

    def ready(self) -> bool:
        return b"up" in self.log.read_bytes()


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, lines: list[str]) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path / "run", lines.append)
    yield supervisor
    supervisor.stop()


def unit(supervisor: Supervisor, name: str) -> Unit:
    return next(unit for unit in supervisor.units if unit.name == name)


def tick_until(supervisor: Supervisor, state: str, name: str) -> None:
    def reached() -> bool:
        supervisor.tick()
        return unit(supervisor, name).state == state

    assert wait_until(reached, 10)


def test_a_dead_process_is_restarted_and_reported(supervisor: Supervisor, tmp_path: Path, lines: list[str]) -> None:
    supervisor.add(StandIn(tmp_path, "posts"))
    supervisor.wait_ready(["posts"], 10)
    first = unit(supervisor, "posts").pid
    unit(supervisor, "posts").server.kill()
    tick_until(supervisor, "waiting", "posts")
    assert lines == [f"posts was killed by SIGKILL; restarting in 0.5 s (see {tmp_path}/posts.log)"]
    tick_until(supervisor, "ready", "posts")
    assert lines[-1] == "posts is ready again"
    assert unit(supervisor, "posts").pid not in (None, first)
    assert unit(supervisor, "posts").restarts == 1


def test_pauses_grow_and_a_steady_time_resets_them(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.add(StandIn(tmp_path, "posts"))
    supervisor.wait_ready(["posts"], 10)
    supervisor.starting = False
    found = unit(supervisor, "posts")
    pauses = []
    for _ in range(9):
        found.server.kill()
        found.state = "starting"
        now = time.monotonic()
        found.started_at = now
        supervisor._ended(found, now)
        pauses.append(found.next_start - now)
    assert pauses == pytest.approx([0.5, 1, 2, 4, 8, 16, 30, 30, 30])
    now = found.started_at + 61
    supervisor._ended(found, now)
    assert found.next_start - now == pytest.approx(0.5)


def test_a_process_that_never_gets_ready_is_given_up_with_the_end_of_its_log(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.local.supervisor.FIRST_PAUSE", 0.01)
    supervisor.add(StandIn(tmp_path, "posts", "sys = __import__('sys'); sys.exit('no database')"))
    with pytest.raises(LocalError) as refusal:
        supervisor.wait_ready(["posts"], 20)
    first, heading, *log, where = str(refusal.value).splitlines()
    assert re.match(r"posts does not stay up: it ended 4 times in a row, the last time at [\d:]{8} status 1\.$", first)
    assert (heading, log) == ("The last lines of its log that matter:", ["    no database"])  # of the last try alone
    assert where == f"The whole log: {tmp_path}/posts.log"


def test_a_process_that_ends_again_and_again_after_it_was_ready_ends_the_start(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.local.supervisor.FIRST_PAUSE", 0.01)
    code = "import sys, time; print('up', flush=True); time.sleep(0.2); sys.exit('lost the database')"
    supervisor.add(StandIn(tmp_path, "people"), StandIn(tmp_path, "posts", code))
    supervisor.wait_ready(["people", "posts"], 20)
    with pytest.raises(
        LocalError, match=r"(?s)^posts does not stay up: it ended 4 times.* status 1.*lost the database"
    ):
        supervisor.settle(20)


def test_a_start_is_over_when_everything_has_stayed_ready_for_a_moment(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.local.supervisor.SETTLE_SECONDS", 0.3)
    once = "import os, sys; print('up', flush=True); os.path.exists('{0}') or (open('{0}', 'w'), sys.exit(1));"
    supervisor.add(StandIn(tmp_path, "people"), StandIn(tmp_path, "posts", once.format(tmp_path / "mark") + SLEEPER))
    supervisor.settle(20)
    states = [found.now() for found in supervisor.units]
    assert [(found.name, found.state, found.restarts) for found in states] == [
        ("people", "ready", 0),
        ("posts", "ready", 1),
    ]
    assert all(found.settled(time.monotonic()) for found in states)
    assert states[1].last_end == "status 1"


def test_what_ended_again_and_again_has_to_stay_ready_for_longer(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.add(StandIn(tmp_path, "posts"))
    supervisor.wait_ready(["posts"], 10)
    found = unit(supervisor, "posts")
    assert found.ready_at is not None
    assert found.now().settled(found.ready_at + 2)
    found.failures = 4
    assert not found.now().settled(found.ready_at + 59)
    assert found.now().settled(found.ready_at + 60)


class Moody(StandIn):
    """Runs on and says as it is told whether it is ready."""

    answer = True

    def ready(self) -> bool:
        return self.answer and super().ready()


def test_a_process_that_is_not_ready_any_more_is_reported(
    supervisor: Supervisor, tmp_path: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.local.supervisor.PROBE_SECONDS", 0)
    server = Moody(tmp_path, "posts")
    supervisor.add(server)
    supervisor.wait_ready(["posts"], 10)
    server.answer = False
    supervisor.tick()
    assert unit(supervisor, "posts").state == "ready"  # once may be a busy machine
    supervisor.tick()
    assert unit(supervisor, "posts").state == "unready"
    with pytest.raises(LocalError, match=r"posts is not steadily ready after 0\.2 s"):
        supervisor.settle(0.2)
    server.answer = True
    tick_until(supervisor, "ready", "posts")
    assert lines == [f"posts runs but is not ready any more (see {tmp_path}/posts.log)", "posts is ready again"]


def test_a_slow_start_is_named(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.add(StandIn(tmp_path, "posts", "import time; time.sleep(60)"))
    with pytest.raises(LocalError, match=r"posts is not ready after 0\.2 s"):
        supervisor.wait_ready(["posts"], 0.2)


def test_groups_stop_one_after_the_other(supervisor: Supervisor, tmp_path: Path, lines: list[str]) -> None:
    supervisor.add(*(StandIn(tmp_path, name) for name in ("postgres", "posts", "people")))
    supervisor.wait_ready(["postgres", "posts", "people"], 10)
    supervisor.stop(["posts", "people"], ["postgres"])
    assert lines == ["stopping posts, people", "stopping postgres"]
    assert all("down" in (tmp_path / f"{name}.log").read_text() for name in ("postgres", "posts", "people"))
    assert list((tmp_path / "run").glob("*.json")) == []


class Stubborn(StandIn):
    stop_seconds: ClassVar[float] = 0.3


def test_a_process_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    code = "import time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    stubborn = Stubborn(tmp_path, "posts", code)
    stubborn.start()
    stubborn.stop()
    assert not stubborn.alive


def test_children_of_a_dead_process_are_killed(tmp_path: Path) -> None:
    code = "import subprocess; c = subprocess.Popen(['sleep', '60']); print('up', c.pid, flush=True); c.wait()"
    parent = StandIn(tmp_path, "posts", code)
    parent.start()
    child = Identity.of(int(parent.log.read_text().split()[1]))
    assert child is not None
    parent.kill()
    assert wait_until(lambda: not child.alive, 5)


def test_children_die_with_a_killed_parent(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from deploy.local.processes import spawn;"
        "child = spawn(['sleep', '60'], log=Path(sys.argv[1]) / 'log'); print(child.pid, flush=True); child.wait()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = Identity.of(int(parent.stdout.readline()))
    assert child is not None
    assert child.alive
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert wait_until(lambda: not child.alive, 5)


def test_an_identity_never_matches_another_process_with_the_same_number(tmp_path: Path) -> None:
    child = spawn(["sleep", "60"], log=tmp_path / "log")
    identity = Identity.of(child.pid)
    assert identity is not None
    identity.save(tmp_path / "id.json")
    assert Identity.load(tmp_path / "id.json") == identity
    impostor = Identity(child.pid, identity.started - 1, identity.boot)
    impostor.save(tmp_path / "other.json")
    assert Identity.load(tmp_path / "other.json") is None
    impostor.send(signal.SIGKILL)
    assert child.poll() is None
    identity.end(grace=5)
    child.wait(5)
    assert Identity.load(tmp_path / "id.json") is None
    (tmp_path / "id.json").write_text("{broken")
    assert Identity.load(tmp_path / "id.json") is None


def test_a_large_log_is_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.local.processes.LOG_BYTES", 10)
    log = tmp_path / "log"
    for word in ("first-long-line", "second-long-line", "third"):
        spawn(["echo", word], log=log).wait(10)
    assert log.read_text() == "third\n"
    assert log.with_suffix(".old").read_text() == "second-long-line\n"
