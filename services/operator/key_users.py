"""Tell from the metrics of all processes whether the next step of a key's replacement can be taken."""

from collections.abc import Sequence

from services.operator.doctor.processes import Process
from services.operator.key_rotation import DerivationSecret, SigningKey

Keys = SigningKey | DerivationSecret


def obstacles_to_switch(key: Keys, processes: Sequence[Process]) -> list[str]:
    """Return, as sentences, which processes would refuse what is signed with the next key."""
    found = _unanswered(processes)
    if isinstance(key, DerivationSecret):
        accepting = [each for each in processes if each.metrics.get("rapport_accepted_secret")]
        needed = str(key.next_number)
        late = [each for each in accepting if needed not in _labels(each, "rapport_accepted_secret", "number")]
    else:
        accepting = [each for each in processes if each.metrics.get("rapport_verification_key")]
        late = [
            each
            for each in accepting
            if key.other_thumbprint not in _labels(each, "rapport_verification_key", "thumbprint")
        ]
    if not accepting and not found:
        found.append("No process that would have to accept it was found.")
    return found + [f"{_name(each)} does not accept {key.next_id} yet: start it again." for each in late]


def obstacles_to_drop(key: SigningKey, processes: Sequence[Process], *, now: float, switched_at: float) -> list[str]:
    """Return, as sentences, what the other key is still needed for.

    Args:
        now: in seconds since 1970, like `switched_at`.
        switched_at: when the file was changed last: nothing but commands signs as the operator.
    """
    found = _unanswered(processes)
    signing = [(each, _labels(each, "rapport_signing_key", "thumbprint")) for each in processes]
    found += [
        f"{_name(each)} signs with {key.other_id}: start it again."
        for each, thumbprints in signing
        if key.other_thumbprint in thumbprints
    ]
    if found or key.step == "added":
        return found
    if key.name == "operator":
        return left_to_wait(key, switched_at, now=now)
    started = [_started(each) for each, thumbprints in signing if key.own_thumbprint in thumbprints]
    if not started:
        return [f"No process that signs with {key.own_id} was found."]
    since = [each for each in started if each is not None]
    if len(since) < len(started):
        return [f"A process does not tell when it was started: say --restarted, since when all sign with {key.own_id}."]
    return left_to_wait(key, max(since), now=now)


def left_to_wait(key: SigningKey, since: float, *, now: float) -> list[str]:
    """Return how long something signed with the earlier key is still valid, if nobody has signed with it since then."""
    left = int(since + key.life - now) + 1
    if left <= 0:
        return []
    return [f"What {key.other_id} signed may be valid for {left} s more: try again after that."]


def _unanswered(processes: Sequence[Process]) -> list[str]:
    return [f"The process at {each.address} does not answer: {each.error}." for each in processes if each.error]


def _labels(process: Process, metric: str, label: str) -> set[str]:
    return {labels[label] for labels, value in process.metrics.get(metric, ()) if value}


def _started(process: Process) -> float | None:
    return next((value for _, value in process.metrics.get("process_start_time_seconds", ())), None)


def _name(process: Process) -> str:
    return f"{process.service} at {process.address}"
