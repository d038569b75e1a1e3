"""Nobody of the crowd exceeds a quota, and their tokens are those of people."""

from collections import Counter
from uuid import UUID, uuid4

import pytest

from services.chassis.identity import Signer, Verifier
from tests.benchmarks.__main__ import WRITES
from tests.benchmarks.crowd import POSTING_QUOTA, Crowd, crowd_size
from tests.stack import generate_keys

KEYS = generate_keys()
SIGNER = Signer(KEYS["PEOPLE_SIGNING_KEY"], "people")


@pytest.mark.parametrize("rounds", [1, 3, 10])
def test_all_writes_of_a_run_in_one_minute_use_half_of_a_quota(rounds: int) -> None:
    writes = WRITES * rounds
    crowd = Crowd(SIGNER, [str(UUID(int=number)) for number in range(crowd_size(writes))])
    most = max(Counter(person.id for person in crowd.take(writes)).values())
    assert most <= POSTING_QUOTA / 2


def test_the_crowd_grows_with_the_writes() -> None:
    assert [crowd_size(writes, quota=120) for writes in (1, 60, 61, 6000)] == [1, 1, 2, 100]


def test_people_take_turns() -> None:
    ids = [str(uuid4()) for _ in range(3)]
    assert [person.id for person in Crowd(SIGNER, ids).take(7)] == [*ids, *ids, ids[0]]


def test_tokens_are_accepted_as_those_of_people_and_renewed() -> None:
    verifier = Verifier(KEYS["VERIFICATION_KEYS"], "rapport", longest=900, accepted=["people"])
    crowd = Crowd(SIGNER, [str(UUID(int=1))])
    first = crowd.next().access_token
    caller = verifier.verify(first)
    assert (caller.person_id, caller.roles) == (UUID(int=1), frozenset({"reader"}))
    assert caller.session_id is not None
    crowd.renew()
    assert crowd.next().access_token != first
