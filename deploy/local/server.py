"""A process of the local stack: how it is started, watched and ended."""

import contextlib
import os
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from deploy.local.processes import Child, LocalError, spawn, tail, wait_until


class Server(ABC):
    """One real server on 127.0.0.1, its data and its log in a folder.

    Attributes:
        folder: the folder of data, configuration and log; created when it is missing.
        port: the port it listens on.
        log: the file of its output, by default in `folder`.
        death_signal: the signal it gets when its parent process dies.
    """

    name: str
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    start_seconds: ClassVar[float] = 60
    stop_seconds: ClassVar[float] = 20

    def __init__(
        self, folder: Path, port: int, *, log: Path | None = None, death_signal: signal.Signals = signal.SIGKILL
    ) -> None:
        self.folder = folder
        self.port = port
        self.log = log or folder / f"{self.name}.log"
        self.death_signal = death_signal
        self.process: Child | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Create the data folder, once."""

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """Return the command that starts the server."""

    @abstractmethod
    def ready(self) -> bool:
        """Return whether it answers its own protocol now."""

    def environment(self) -> Mapping[str, str] | None:
        return None

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def set_up(self) -> None:
        """Create its folder, and in it what it needs."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.prepare()

    def launch(self) -> None:
        """Start the process and return at once."""
        self.set_up()
        self.process = self.begin()

    def begin(self) -> Child:
        """Return the process, which has just been started."""
        return spawn(self.command(), log=self.log, environment=self.environment(), death_signal=self.death_signal)

    def start(self) -> None:
        """Start the process and wait until it answers.

        Raises:
            LocalError: it ended, or does not answer in time.
        """
        self.launch()
        answered = wait_until(lambda: not self.alive or self.ready(), self.start_seconds)
        if not self.alive or not answered:
            self.kill()
            raise LocalError(f"{self.name} did not start on port {self.port}. The end of {self.log}:\n{tail(self.log)}")

    def sweep(self) -> None:
        """Kill the children of an ended process; they are all in its session's process group."""
        if self.process is not None and not self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def stop(self) -> None:
        """Send the stop signal and wait; kill it when it does not end in time."""
        if self.process is not None:
            self.process.send_signal(self.stop_signal)
            self.finish()

    def finish(self) -> None:
        """Wait for the end of a process that got its stop signal; kill it when it does not end in time."""
        if self.process is not None:
            try:
                self.process.wait(self.stop_seconds)
            except subprocess.TimeoutExpired:
                self.kill()
            self.sweep()

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.sweep()
