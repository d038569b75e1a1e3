"""The epoch of a database: raised when its rows go back in time, so that what they say overtakes what readers know.

A version counts the changes of one row, and goes on from an older number after a restore. So readers compare (epoch,
version). Every event carries the epoch, by the default of its column in the outbox.
"""

from services.chassis.database.pool import Reader, Transaction

SELECT_EPOCH = "select number from epoch"


async def find_epoch(reader: Reader) -> int:
    """Return the present epoch of this database; 0 until a restore raises it."""
    number: int = await reader.fetchval(SELECT_EPOCH)
    return number


RAISE_EPOCH = """
update epoch
set number = greatest(number + 1, $1::bigint + 1, extract(epoch from clock_timestamp())::bigint),
    raised_at = clock_timestamp()
returning number
"""


async def raise_epoch(tx: Transaction, above: int = 0) -> int:
    """Raise the epoch above the present one and `above`, and return it.

    It is the time in seconds, so that a second restore of the same backup gets a higher one than the first.
    """
    number: int = await tx.fetchval(RAISE_EPOCH, above)
    return number
