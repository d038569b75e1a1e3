"""Every alarm rings at its real fault, in a real Prometheus, and stops after the mend. Durations are shorter there."""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager

import pytest
import yaml

from services.contracts.topics import COMMENTS, POSTS
from tests.e2e import faults
from tests.e2e.own_system import GARBAGE, OwnSystem
from tests.installed import running_program
from tests.prometheus import DURATION, RULES, Prometheus, quickened
from tests.waiting import eventually

RING_SECONDS = 90

Fault = Callable[[OwnSystem], AbstractAsyncContextManager[None]]
Labels = Mapping[str, str]

# each fault with the alarms that ring at it; a new rule needs a line here
FAULTS: list[tuple[Fault, Mapping[str, Labels]]] = [
    (faults.mail_server_away, {"RapportMailServerUnusable": {}, "RapportMailLate": {}, "RapportSignInLate": {}}),
    (faults.one_garbage_record, {"RapportDeadLetters": {"group": "comments", "cause": "undecodable"}}),
    (
        faults.much_garbage,
        {"RapportPartitionStopped": {"group": "comments", "topic": POSTS.name, "partition": str(GARBAGE)}},
    ),
    (
        faults.partition_paused,
        {"RapportPartitionPaused": {"group": "comments", "topic": POSTS.name, "partition": str(faults.PAUSED)}},
    ),
    (faults.mail_paused, {"RapportMailPaused": {}}),
    (faults.publisher_stopped, {"RapportPostsLate": {}}),
    (faults.relay_stopped, {"RapportRelayMissing": {"service": "posts"}}),
    (faults.second_owner, {"RapportRelayTwice": {"service": "posts"}}),
    (
        faults.people_killed,
        {
            "RapportServiceMissing": {"service": "people"},
            "RapportBreakerOpen": {"upstream": "people"},
            "RapportPeriodicWorkFails": {"work": "refresh revocations"},
        },
    ),
    (faults.table_locked, {"RapportDatabasePoolFull": {"database": "posts"}}),
    (faults.processor_short, {"RapportLoopLag": {}}),
    (faults.mixed_versions, {"RapportVersionsMixed": {}}),
    (faults.valkey_stopped, {"RapportValkeyAway": {}}),
    (
        faults.consumer_stopped,
        {
            "RapportConsumerBehind": {"group": "notify", "topic": COMMENTS.name},
            "RapportConsumerStuck": {"group": "notify", "topic": COMMENTS.name},
        },
    ),
    (
        faults.kafka_stopped,
        {
            "RapportGatewayDeaf": {},
            "RapportEventsWait": {"service": "comments"},
            "RapportProducersDiscarded": {},
            "RapportLagUnmeasured": {},
        },
    ),
]

# in every test run; the others, which wait for meters of ten seconds, with `make chaos`
BRIEF = (faults.one_garbage_record, faults.mail_paused)


@pytest.fixture(scope="module")
async def prometheus(own_system: OwnSystem, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Prometheus]:
    parts = own_system.stack.parts
    watching = Prometheus(tmp_path_factory.mktemp("prometheus"), lambda: list(parts.values()))
    with running_program(watching):

        async def all_are_scraped() -> bool:
            return await watching.scraped() == len(parts)

        await eventually(all_are_scraped, timeout=30)
        yield watching


async def until(prometheus: Prometheus, *, rings: bool, alarm: str, labels: Labels) -> None:
    """Wait until an alarm rings, or until it does not."""

    async def is_so() -> bool:
        return await prometheus.rings(alarm, **labels) is rings

    try:
        await eventually(is_so, timeout=RING_SECONDS, pause=0.2)
    except AssertionError:
        raise AssertionError(f"{alarm} {'does not ring' if rings else 'does not stop'}") from None


async def test_nothing_rings_without_a_fault(own_system: OwnSystem, prometheus: Prometheus) -> None:
    before = len(own_system.sink.messages)
    await own_system.answer_ben()
    await own_system.sink.wait_for(before + 1)

    async def all_is_quiet() -> bool:
        return await prometheus.alarms() == []

    await eventually(all_is_quiet, timeout=RING_SECONDS)


@pytest.mark.parametrize(
    ("fault", "alarms"),
    [
        pytest.param(fault, alarms, id=fault.__name__, marks=[] if fault in BRIEF else pytest.mark.chaos)
        for fault, alarms in FAULTS
    ],
)
async def test_alarms_ring_at_a_fault_and_stop_after_it(
    own_system: OwnSystem, prometheus: Prometheus, fault: Fault, alarms: Mapping[str, Labels]
) -> None:
    async with fault(own_system):
        for alarm, labels in alarms.items():
            await until(prometheus, rings=True, alarm=alarm, labels=labels)
    for alarm, labels in alarms.items():
        await until(prometheus, rings=False, alarm=alarm, labels=labels)


def test_every_rule_has_a_fault() -> None:
    named = [alarm for _, alarms in FAULTS for alarm in alarms]
    assert sorted(named) == sorted(rule["alert"] for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"])


def test_the_copy_of_the_rules_differs_in_durations_only() -> None:
    kept, quick = yaml.safe_load(RULES.read_text()), quickened(yaml.safe_load(RULES.read_text()))
    for rule, copy in zip(kept["groups"][0]["rules"], quick["groups"][0]["rules"], strict=True):
        without = {"for": "", "expr": ""}
        assert rule | without == copy | without
        assert re.sub(DURATION, "…", rule["expr"]) == re.sub(DURATION, "…", copy["expr"])
