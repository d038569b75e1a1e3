"""Compare the clock of another machine with the clock of this one."""

from services.operator.doctor.findings import Finding, fault, ok, warning

UNNOTICED_SECONDS = 2.0
MEND = "Let NTP set the clock, here and there (timedatectl status)."


def look_at_clock(name: str, difference: float, doubt: float, most: float, consequence: str = "") -> Finding:
    """Return what is to be said of a clock.

    Args:
        difference: by how many seconds it is ahead.
        doubt: how many seconds of it may be the way of the question and the answer.
        most: beyond which difference it is a fault.
        consequence: what happens then.
    """
    found = f"it is {'ahead of' if difference > 0 else 'behind'} this machine's by {abs(difference):,.0f} s"
    least = max(0.0, abs(difference) - doubt)
    if least > most:
        return fault(f"clock of {name}", found + consequence, MEND)
    if least > UNNOTICED_SECONDS:
        return warning(f"clock of {name}", found, MEND)
    return ok(f"clock of {name}", "it agrees with this machine's")
