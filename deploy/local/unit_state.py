"""The state of one supervised process, as `state.json` keeps it for `make up` and `make status`."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from deploy.local.listeners import listener
from deploy.local.logs import excerpt

HOPELESS = 4  # ends in a row, without a steady time between them, after which a start is given up


@dataclass(frozen=True)
class UnitState:
    """What is known of one process at a moment.

    Attributes:
        state: `stopped`, `starting`, `ready`, `unready` (runs, but is not ready any more), or `waiting` to start again.
        restarts: number of restarts since the supervisor started.
        failures: ends in a row without a steady time between them.
        settled_at: from when on it counts as settled if it stays ready, by the monotonic clock; None when not ready.
        ended_at: seconds since 1970 at its last end, 0 before one.
        last_end: how it ended then, such as `status 1` or `SIGKILL`.
        ended_from: where its log began for the process that ended then, in bytes.
    """

    name: str
    state: str
    pid: int | None
    port: int
    restarts: int = 0
    failures: int = 0
    settled_at: float | None = 0.0  # a supervisor of an earlier version does not say
    ended_at: float = 0.0
    last_end: str = ""
    ended_from: int = 0
    log: str = ""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Return the state in a row of `state.json`, which another version may have written."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in row.items() if name in known})

    def settled(self, now: float) -> bool:
        """Return whether it is ready and has stayed so for a moment."""
        return self.state == "ready" and self.settled_at is not None and now >= self.settled_at

    @property
    def hopeless(self) -> bool:
        return self.failures >= HOPELESS

    @property
    def end(self) -> str:
        """Return time and manner of the last end, empty before one."""
        if not self.ended_at:
            return ""
        ended = time.localtime(self.ended_at)
        today = ended[:3] == time.localtime()[:3]
        return f"{time.strftime('%H:%M:%S' if today else '%m-%d %H:%M', ended)} {self.last_end}"

    def failure(self) -> str:
        """Return a paragraph about a process that does not stay ready: its ends, its log, and who has its port."""
        if self.failures:
            times = "once" if self.failures == 1 else f"{self.failures} times in a row"
            lines = [f"{self.name} does not stay up: it ended {times}, the last time at {self.end}."]
        else:
            lines = [f"{self.name} is not ready."]
        found = excerpt(Path(self.log), self.ended_from)
        if found:
            lines.append("The last lines of its log that matter:")
            lines += [f"    {line}" for line in found]
        lines.append(f"The whole log: {self.log}")
        holder = listener(self.port) if self.port and self.pid is None else None
        if holder:
            lines.append(f"Its port {self.port} is taken: {holder} listens there.")
        return "\n".join(lines)
