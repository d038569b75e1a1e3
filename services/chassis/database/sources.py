"""Sources: what was imported is found again by its site and its id there, through an index."""

from services.chassis.errors import invalid

LONGEST_SOURCE = 2000  # bytes; an index entry of PostgreSQL holds at most 2,704


def checked_source(site: str, source_id: str) -> tuple[str, str]:
    """Return site and source id.

    Raises:
        Problem: `invalid` when an index entry may not hold both.
    """
    if len(f"{site}{source_id}".encode()) > LONGEST_SOURCE:
        raise invalid("source_id", "is too long together with site")
    return site, source_id
