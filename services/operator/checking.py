"""Check that what services know of each other is what its owners say."""

from collections.abc import Sequence
from typing import Any

from services.operator.calls import Services
from services.operator.comparing import Comparison, compare
from services.operator.moments import counted

SHOWN_IDS = 20


async def check(services: Services, owners: Sequence[str], wait_seconds: float) -> list[Comparison]:
    """Compare the rows of these owners with what their readers know.

    Raises:
        Problem, Failed: as `Services.post`.
    """
    return [await compare(services, owner, wait_seconds) for owner in owners]


def as_json(found: Comparison) -> dict[str, Any]:
    """Return a comparison for a program."""
    return {
        "owner": found.owner,
        "reader": found.reader,
        "rows": found.rows,
        "differing": len(found.differing),
        "more": found.more,
        "kinds": found.kinds,
        "ids": [str(row_id) for row_id in list(found.differing)[:SHOWN_IDS]],
        "mend": f"rapport resync {found.owner}" if found.differing else None,
    }


def sentence(found: Comparison) -> str:
    """Return a comparison in a sentence that names the mend."""
    if not found.differing:
        return f"{found.reader} knows {counted(found.rows, 'row')} of {found.owner} as they are."
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(found.kinds.items()))
    more = f", and up to {found.more:,} more" if found.more else ""
    return (
        f"{found.reader} knows {counted(len(found.differing), 'row')} of {found.owner} in another way than they are "
        f"({kinds}{more}): "
        f"unless `rapport consumer status {found.reader}` shows that a partition stands still, "
        f"run `rapport resync {found.owner}`."
    )
