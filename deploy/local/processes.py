"""Child processes that never outlive their parent, and identities of processes that survive a crash."""

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
from typing import BinaryIO, Protocol

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
NOBODY = 65534  # the only user besides root with an entry in every passwd
LOG_BYTES = 16 * 1024 * 1024
_libc = ctypes.CDLL(None)


class LocalError(Exception):
    """A failure that the user can repair. The message is a sentence that says how."""


@dataclass(frozen=True)
class Identity:
    """A process that cannot be confused with a later one under the same number.

    Attributes:
        started: clock ticks between the machine's boot and the start of the process.
        boot: the id of that boot.
    """

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """Return the process that has this number now, None when there is none or only a zombie."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        fields = stat.rpartition(")")[2].split()  # the name before it may contain spaces
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
        """Send a signal and wait; send SIGKILL when the process still runs after `grace` seconds."""
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
        """Return the process that `save` stored, None when it no longer runs."""
        try:
            identity = cls(**json.loads(file.read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return identity if identity.alive else None


class Child(Protocol):
    """What supervision needs of a child; `subprocess.Popen` has it."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None: ...

    def wait(self, timeout: float) -> int: ...

    def send_signal(self, number: int, /) -> None: ...

    def kill(self) -> None: ...


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, its output appended to `log`.

    The kernel sends it `death_signal` when the thread that called this function ends, so call it from the main thread.
    A log larger than `LOG_BYTES` is renamed first, and replaces the one that was renamed before.
    """
    parent = os.getpid()
    with open_log(log) as output:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=None if environment is None else dict(environment),
            start_new_session=True,
            preexec_fn=lambda: die_with(parent, death_signal),
        )


def open_log(log: Path) -> BinaryIO:
    """Open a log to write at its end; one that is larger than `LOG_BYTES` is renamed first, and another begun."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".old"))
    return log.open("ab")


def die_with(parent: int, death_signal: signal.Signals) -> None:
    """Let the kernel send this process a signal when the thread that started it ends; end now if it has ended."""
    _libc.prctl(PR_SET_PDEATHSIG, int(death_signal))
    if os.getppid() != parent:
        os._exit(1)


def set_name(name: str) -> None:
    """Give this process the name that `ps -e` and `top` show, of 15 letters at most."""
    _libc.prctl(PR_SET_NAME, name.encode())


def without_root(folder: Path, program: Path) -> list[str]:
    """Return the prefix of a command whose program refuses to run as root.

    In a user namespace of its own the program runs as `nobody` while its files stay root's: no user is created and no
    permission changed. Where such namespaces are forbidden the program becomes the real user `nobody`, who must be able
    to read it; `folder` is given to that user, who may also pass through the two folders above it.

    Raises:
        LocalError: neither is possible.
    """
    if os.geteuid() != 0:
        return []
    namespace = ["unshare", "-U", f"--map-user={NOBODY}", f"--map-group={NOBODY}"]
    if shutil.which("unshare") and subprocess.run([*namespace, "true"], capture_output=True).returncode == 0:
        return namespace
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    if shutil.which("setpriv"):
        for above in (folder.parent, folder.parent.parent):
            if above.stat().st_uid == 0 and not above.stat().st_mode & 0o001:
                above.chmod(above.stat().st_mode | 0o011)
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
    """Poll until `condition` is true; return False when it is not within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_taken(port: int) -> bool:
    """Return whether the port of 127.0.0.1 is in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log, for an error message."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
