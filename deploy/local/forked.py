"""Services as forks of the supervisor, which has loaded their code: it is loaded once, and its memory is shared.

The supervisor has one thread and no event loop, and what it loads opens nothing, so a fork goes on as if it had loaded
everything itself.
"""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from deploy.local.processes import LocalError, die_with, open_log, set_name

POLL_SECONDS = 0.02


class Forked:
    """A child that goes on with the code of this process; it is used as a `subprocess.Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the status of a child that has ended, as `Popen` does; None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Wait for the end.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(POLL_SECONDS)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def load(modules: Sequence[str]) -> None:
    """Load the code that forks go on with, and keep the garbage collector from writing to it.

    Raises:
        LocalError: it cannot be loaded.
    """
    try:
        for module in modules:
            import_module(module)
    except Exception as error:
        traceback.print_exc()
        raise LocalError(f"The code of the services cannot be loaded: {error!r}.") from error
    gc.collect()
    gc.freeze()


def fork(
    module: str, arguments: Sequence[str], *, log: Path, environment: Mapping[str, str], death_signal: signal.Signals
) -> Forked:
    """Let a child call `main` of a module, as `processes.spawn` would start `python -m`."""
    parent = os.getpid()
    with open_log(log) as output:
        pid = os.fork()
        if pid == 0:
            _become(module, arguments, output.fileno(), environment, parent, death_signal)
    return Forked(pid)


def _become(
    module: str,
    arguments: Sequence[str],
    output: int,
    environment: Mapping[str, str],
    parent: int,
    death_signal: signal.Signals,
) -> NoReturn:
    status = 1
    try:
        os.setsid()
        die_with(parent, death_signal)
        set_name(module.removesuffix(".__main__").rpartition(".")[2])
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        for descriptor, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output), (2, output)):
            os.dup2(source, descriptor)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = [module, *arguments]
        import_module(module).main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)  # nothing of the supervisor is left to do
