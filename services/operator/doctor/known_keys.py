"""Compare the keys that processes sign with and those that they know, as their metrics tell."""

from collections.abc import Iterable, Mapping, Sequence

from services.operator.doctor.findings import Finding, fault, ok
from services.operator.doctor.waiting_work import Metrics

CALLERS = {  # who signs what each service gets
    "gateway": ("people",),
    "posts": ("gateway", "notify"),
    "comments": ("gateway", "notify"),
    "people": ("gateway", "notify"),
    "notify": ("gateway",),
}


def look_at_keys(processes: Sequence[tuple[str, Metrics]]) -> Iterable[Finding]:
    """Return which service does not know the key of one that calls it.

    Args:
        processes: the service and the metrics of each process that answers.
    """
    signing = {(service, key) for service, metrics in processes for key in _keys(metrics, "rapport_signing_key")}
    unknown: dict[str, set[str]] = {}
    for service, metrics in processes:
        known = _keys(metrics, "rapport_verification_key")
        if known:  # a process without an API accepts nobody
            callers = CALLERS.get(service, ())
            strange = {f"{key[0]} of {caller}" for caller, key in signing if caller in callers and key not in known}
            unknown.setdefault(service, set()).update(strange)
    for service, strange in sorted(unknown.items()):
        if strange:
            found = f"it does not hold the key {', '.join(sorted(strange))}, so calls from there are refused"
            mend = f"Give {service} the VERIFICATION_KEYS that all others have, and start it again."
            yield fault(f"VERIFICATION_KEYS of {service}", found, mend)
    if signing and unknown and not any(unknown.values()):
        yield ok("verification keys", "every service knows the keys of those that call it")


def _keys(metrics: Metrics, name: str) -> set[tuple[str, str]]:
    found: Sequence[tuple[Mapping[str, str], float]] = metrics.get(name, ())
    return {(labels["kid"], labels["thumbprint"]) for labels, _ in found}
