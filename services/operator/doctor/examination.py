"""Run checks side by side, each with a time limit, so that what does not answer hides nothing else."""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.chassis.runtime.timeouts import wait_at_most
from services.operator.doctor.findings import Finding, fault
from services.operator.doctor.settings import DoctorSettings

SECONDS = 15.0
QUIET_SECONDS = 3.0


@dataclass(frozen=True)
class Space:
    """The space of a file system, in bytes."""

    total: int
    free: int


def space_at(path: Path) -> Space:
    """Return the space of the file system that holds a path.

    Raises:
        OSError: there is no such path.
    """
    found = shutil.disk_usage(path)
    return Space(found.total, found.free)


@dataclass(frozen=True)
class Surroundings:
    """What the checks look at, and how.

    Attributes:
        disks: paths whose file systems need space.
        dkim_selector: of the key that signs mails; None if it is not known.
        resolve: returns the TXT records of a name, none where it has none.
        now: this machine's clock.
    """

    settings: DoctorSettings
    resolve: Callable[[str], Awaitable[list[str]]]
    disks: Sequence[Path] = ()
    dkim_selector: str | None = None
    now: Callable[[], float] = time.time
    space: Callable[[Path], Space] = space_at


Check = Callable[[Surroundings], Coroutine[Any, Any, list[Finding]]]


async def examine(
    around: Surroundings, checks: Mapping[str, Check], say: Callable[[str], object], seconds: float = SECONDS
) -> list[Finding]:
    """Return the findings of all checks, in the order of the checks.

    Args:
        say: is told what takes longer than a few seconds.
        seconds: the time limit of each check.
    """
    tasks = {
        asyncio.create_task(_limited(name, check, around, seconds), name=name): None for name, check in checks.items()
    }
    _, late = await asyncio.wait(tasks, timeout=QUIET_SECONDS)
    if late:
        names = ", ".join(sorted(task.get_name() for task in late))
        say(f"Still looking at {names}, for {seconds - QUIET_SECONDS:g} s at most.")
    return [finding for found in await asyncio.gather(*tasks) for finding in found]


async def _limited(name: str, check: Check, around: Surroundings, seconds: float) -> list[Finding]:
    try:
        return await wait_at_most(seconds, check(around))
    except TimeoutError:
        return [fault(name, f"no answer within {seconds:g} s", "See that it runs and that the network leads there.")]
    except Exception as error:  # what one check did not expect must not hide what the others find
        what = f"{type(error).__name__}: {error}"
        return [fault(name, f"it could not be looked at ({what})", "Report this; it is an error of the doctor.")]
