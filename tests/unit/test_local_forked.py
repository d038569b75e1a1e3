"""A forked program is like one that was started: its own environment, log, session, signals and status."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, signal, sys
from services.chassis.ids import new_id

def main():
    own = os.environ.get("ONLY_HERE"), os.environ.get("OF_THE_PARENT")
    name = open("/proc/self/comm").read().strip()
    print(sys.argv[1:], name, *own, os.getsid(0) == os.getpid(), flush=True)
    print(new_id(), flush=True)
    match sys.argv[1]:
        case "exit":
            sys.exit(3)
        case "crash":
            raise ValueError("broken")
        case "wait":
            signal.pause()
"""

PARENT = """
import os, signal, sys, time
from pathlib import Path
from deploy.local.forked import fork, load
from services.chassis.ids import new_id

os.environ["OF_THE_PARENT"] = "secret"
folder = Path(sys.argv[1])
sys.path.insert(0, str(folder))
signal.signal(signal.SIGTERM, signal.SIG_IGN)
load(["program"])
new_id()
for action in ("return", "exit", "crash", "wait"):
    log = folder / f"{action}.log"
    child = fork("program", [action], log=log, environment={"ONLY_HERE": "1"}, death_signal=signal.SIGKILL)
    if action == "wait":
        while not log.exists() or log.read_text().count("\\n") < 2:
            time.sleep(0.01)
        assert child.poll() is None
        child.send_signal(signal.SIGTERM)
    print(child.wait(30), flush=True)
    child.kill()  # of one that has ended: nothing
"""


def test_a_fork_is_a_program_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    ended = subprocess.run([sys.executable, "-c", PARENT, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert ended.stderr == ""
    assert ended.stdout.split() == ["0", "3", "1", "-15"]
    logs = {
        action: (tmp_path / f"{action}.log").read_text().splitlines() for action in ("return", "exit", "crash", "wait")
    }
    for action, lines in logs.items():
        assert lines[0] == f"['{action}'] program 1 None True"
    assert logs["crash"][-1] == "ValueError: broken"
    assert len({lines[1] for lines in logs.values()}) == len(logs)  # no fork repeats the random numbers of another
