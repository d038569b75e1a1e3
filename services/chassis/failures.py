"""Which failures of a handler pass by themselves: those of something it needs."""

import redis.exceptions

from services.chassis.errors import Problem
from services.chassis.passing import is_passing
from services.chassis.producer import Unsent

TRANSIENT = (Unsent, redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)


def transient(error: BaseException) -> bool:
    """Whether the failure is that of something the handler needs, so that trying again will help some day."""
    if isinstance(error, Problem):
        return error.kind == "unavailable"
    return isinstance(error, TRANSIENT) or is_passing(error)
