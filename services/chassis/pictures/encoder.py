"""Re-encode pictures, each in a process of its own: this one never decodes what a stranger sends.

The process is bounded in memory, in processor time and in time, ends with this one, and has neither its environment nor
its connections. One runs at a time, and a person has one in line: so a picture waits for one of each other person.
"""

import asyncio
import contextlib
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import orjson
import structlog

from services.chassis.errors import Problem, invalid, unavailable
from services.chassis.runtime import context

log = structlog.get_logger(__name__)

WORKER = str(Path(__file__).with_name("worker.py"))
MOST_SIDE = 8192
MEMORY = 1280 * 2**20  # of address space; a WebP of 8,192² pixels takes nearly all of it
SHARE = 0.8  # of what is left of the memory of a container
GROUP = Path("/sys/fs/cgroup")
CPU_SECONDS = 10
SECONDS = 20.0
MOST_WAITING = 16


@dataclass(frozen=True)
class Form:
    """The form that a picture gets.

    Attributes:
        most_width: a wider one is made smaller.
        square: the side of the square that is cut out of its middle; 0 for none.
    """

    most_width: int
    square: int = 0


@dataclass(frozen=True)
class Picture:
    """A picture as WebP, without metadata."""

    content: bytes
    width: int
    height: int


class Encoder:
    """The pictures of one process that are re-encoded or wait for it."""

    def __init__(self, *, memory: int = MEMORY, cpu_seconds: int = CPU_SECONDS, seconds: float = SECONDS) -> None:
        self._memory = memory
        self._cpu_seconds = cpu_seconds
        self._seconds = seconds
        self._turn = asyncio.Lock()
        self._owners: set[UUID] = set()

    async def encode(self, data: bytes, kind: str, form: Form, owner: UUID) -> Picture:
        """Return the picture, re-encoded.

        Args:
            kind: its media type, as its first bytes say it.

        Raises:
            Problem: `invalid` for a picture that is too large, damaged or too costly; `unavailable` when another one of
                its owner is under way, too many wait, or it would come too late.
        """
        if owner in self._owners:
            raise unavailable("Another picture of yours is under way.")
        if len(self._owners) >= MOST_WAITING:
            raise unavailable("Too many pictures wait.")
        self._owners.add(owner)
        deadline = min(time.monotonic() + self._seconds, context.current().deadline or float("inf"))
        try:
            async with asyncio.timeout(deadline - time.monotonic()), self._turn:
                return await self._encode(data, kind, form)
        except TimeoutError:
            raise unavailable("The picture could not be read in time.") from None
        finally:
            self._owners.discard(owner)

    async def _encode(self, data: bytes, kind: str, form: Form) -> Picture:
        numbers = (
            os.getpid(),
            min(self._memory, memory_left()),
            self._cpu_seconds,
            MOST_SIDE,
            form.most_width,
            form.square,
        )
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", WORKER, kind, *map(str, numbers)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd="/",
            env={},
        )
        try:
            answer, _ = await process.communicate(data)
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode:
            log.warning("a picture ended its process", kind=kind, bytes=len(data), status=process.returncode)
            raise refused("takes too much time or memory to be read")
        head, _, content = answer.partition(b"\n")
        said = orjson.loads(head)
        if "refused" in said:
            raise refused(said["refused"])
        return Picture(content, said["width"], said["height"])


def memory_left(group: Path = GROUP) -> int:
    """Return how much memory a picture may take here: not so much that the container of this process ends for it."""
    try:
        most, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
    except (OSError, ValueError):  # none, or `max`: not limited
        return MEMORY
    return max(0, int((most - used) * SHARE))


def refused(reason: str) -> Problem:
    """Return the 422 for a picture; the reason is the predicate of a sentence about it."""
    return Problem("invalid", f"The picture {reason}.", errors=invalid("", f"is a picture that {reason}").errors)
