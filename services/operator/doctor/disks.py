"""Look at the free space of this machine's disks."""

import asyncio

from services.operator.doctor.examination import Surroundings
from services.operator.doctor.findings import Finding, fault, ok, warning

GIB = 1024**3
LITTLE_BYTES, LITTLE_SHARE = 5 * GIB, 0.10
FULL_BYTES, FULL_SHARE = GIB, 0.02
MEND = "Free space there: old logs and images first. A database or broker whose disk is full stops taking writes."


async def check_disks(around: Surroundings) -> list[Finding]:
    """Check each disk: a fault below 1 GiB or 2 %, a warning below 5 GiB and 10 %."""
    found = []
    for path in around.disks:
        name = f"disk {path}"
        try:
            space = await asyncio.to_thread(around.space, path)
        except OSError as error:
            found.append(fault(name, f"it cannot be looked at: {error.strerror}", "Name a folder that exists."))
            continue
        share = space.free / max(1, space.total)
        free = f"{space.free / GIB:.1f} GiB of {space.total / GIB:.1f} GiB are free ({share:.0%})"
        if space.free < FULL_BYTES or share < FULL_SHARE:
            found.append(fault(name, f"only {free}", MEND))
        elif space.free < LITTLE_BYTES and share < LITTLE_SHARE:
            found.append(warning(name, f"only {free}", MEND))
        else:
            found.append(ok(name, free))
    return found
