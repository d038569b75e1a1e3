"""Child processes that never outlive their parent, and processes known again safely after a crash."""

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
NOBODY = 65534  # the one number besides root that has an entry in every passwd
LOG_BYTES = 16 * 1024 * 1024
_libc = ctypes.CDLL(None)


class LocalError(Exception):
    """Something in the way that a person can remove. The message is a sentence that says how."""


@dataclass(frozen=True)
class Identity:
    """A process that cannot be mistaken for a later one under the same number.

    Attributes:
        started: clock ticks between the machine's boot and the start of the process.
        boot: the id of that boot.
    """

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """The process that has this number now; None when nobody has, or only a zombie."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        fields = stat.rpartition(")")[2].split()  # the name before may hold spaces
        return None if fields[0] in ("Z", "X") else cls(pid, int(fields[19]), boot)

    @property
    def alive(self) -> bool:
        return Identity.of(self.pid) == self

    def send(self, number: signal.Signals) -> None:
        """Send a signal if it is still the same process."""
        if self.alive:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    def end(self, number: signal.Signals = signal.SIGTERM, *, grace: float = 10) -> None:
        """Ask it to end, and SIGKILL when it is still there after `grace` seconds."""
        self.send(signal.SIGCONT)
        self.send(number)
        if not wait_until(lambda: not self.alive, grace):
            self.send(signal.SIGKILL)
            wait_until(lambda: not self.alive, 5)

    def save(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(self)))
        temporary.replace(file)

    @classmethod
    def load(cls, file: Path) -> "Identity | None":
        """What `save` wrote, if that process still lives."""
        try:
            identity = cls(**json.loads(file.read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return identity if identity.alive else None


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, its output appended to `log`.

    The kernel sends it `death_signal` when the thread that called this ends, so call it from the main thread. A log
    that has grown beyond `LOG_BYTES` is set aside first, in place of the one that was set aside before.
    """
    parent = os.getpid()

    def bind_to_parent() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, int(death_signal))
        if os.getppid() != parent:
            os._exit(1)

    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".old"))
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=None if environment is None else dict(environment),
            start_new_session=True,
            preexec_fn=bind_to_parent,
        )


def without_root(folder: Path, program: Path) -> list[str]:
    """What to put before a program that refuses to run as root.

    In a user namespace of its own the program believes to be nobody while its files stay root's: no user is made and
    no permission changed. Where such namespaces are forbidden it becomes nobody, who must be able to reach it, and then
    `folder` is given to nobody.

    Raises:
        LocalError: neither way is open.
    """
    if os.geteuid() != 0:
        return []
    namespace = ["unshare", "-U", f"--map-user={NOBODY}", f"--map-group={NOBODY}"]
    if shutil.which("unshare") and subprocess.run([*namespace, "true"], capture_output=True).returncode == 0:
        return namespace
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    reachable = [*drop, "test", "-x", str(folder.parent), "-a", "-x", str(program)]
    if shutil.which("setpriv") and subprocess.run(reachable, capture_output=True).returncode == 0:
        folder.mkdir(parents=True, exist_ok=True)
        os.chown(folder, NOBODY, NOBODY)
        return drop
    raise LocalError(
        "PostgreSQL does not run as root and this machine allows no user namespace: start it as an ordinary user, "
        "or set the variables POSTS_DATABASE_URL, COMMENTS_DATABASE_URL, PEOPLE_DATABASE_URL and NOTIFY_DATABASE_URL."
    )


def wait_until(condition: Callable[[], bool], timeout: float, pause: float = 0.02) -> bool:
    """Poll until `condition` holds; False when it does not within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_taken(port: int) -> bool:
    """Whether something holds the port on 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, for a message about a failure."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
