"""The doctor finds each of the faults that are planted in a running system, and names the mend."""

import json
from pathlib import Path

import pytest

from services.contracts.topics import COMMENTS, POSTS, dead_letter_topic
from services.operator.doctor import findings
from services.operator.doctor.findings import Finding
from tests.e2e import faults, planted
from tests.e2e.own_system import GARBAGE, OwnSystem
from tests.e2e.test_doctor import surroundings_of
from tests.e2e.test_operator_command import rapport
from tests.waiting import eventually

FIND_SECONDS = 60

# each fault, and what the doctor says of it: level, name, and words of the mend
FAULTS: list[tuple[planted.Planting, list[tuple[str, str, str]]]] = [
    (planted.wrong_setting, [("fault", "PUBLIC_URL", "https address")]),
    (planted.in_place(faults.people_killed), [("fault", "people", "services.people api")]),
    (planted.in_place(faults.mixed_versions), [("warning", "versions", "one version everywhere")]),
    (planted.wrong_clock, [("fault", "clock of people", "NTP")]),
    (planted.short_retention, [("fault", f"own.{COMMENTS.name}", "rapport topics apply")]),
    (planted.missing_topic, [("fault", f"own.{dead_letter_topic('notify').name}", "rapport topics apply")]),
    (planted.missing_right, [("warning", "topics", "rapport kafka-access")]),
    (planted.full_disk, [("fault", "disk", "Free space")]),
    (
        planted.sender_without_records,
        [
            ("warning", "SPF of rapport.dev", "v=spf1"),
            ("fault", "DKIM", "public key"),
            ("warning", "DMARC of rapport.dev", "_dmarc.rapport.dev"),
        ],
    ),
    (planted.old_events, [("fault", "relay of posts", "Kafka")]),
    (planted.old_mail, [("warning", "mail", "notify's mailer")]),
    (planted.in_place(faults.relay_stopped), [("fault", "relay of posts", "services.posts relay")]),
    (
        planted.in_place(faults.partition_paused),
        [("warning", f"{POSTS.name} {faults.PAUSED}", "rapport consumer resume")],
    ),
    (planted.missing_migration, [("fault", "comments at", "services.comments migrate")]),
    (planted.other_keys, [("fault", "VERIFICATION_KEYS of posts", "the VERIFICATION_KEYS that all others have")]),
    (planted.in_place(faults.valkey_stopped), [("fault", "Valkey", "REDIS_URL")]),
    (planted.in_place(faults.much_garbage), [("fault", f"{POSTS.name} {GARBAGE}", "rapport consumer skip")]),
]


async def examined(system: OwnSystem, seen: planted.Seen) -> tuple[int, list[Finding]]:
    """Return the status of the doctor, and what is not ok."""
    around = {**surroundings_of(system.stack), **seen.environment}
    ended = await rapport(system.stack, "doctor", "--json", *seen.arguments, **around)
    told = json.loads(ended.out)
    assert ended.status == (1 if told["faults"] else 0), ended
    return ended.status, [Finding(**each) for each in told["findings"] if each["level"] != "ok"]


async def test_without_a_fault_there_is_none(own_system: OwnSystem) -> None:
    async def is_well() -> bool:
        return (await examined(own_system, planted.Seen()))[0] == 0

    await eventually(is_well, timeout=FIND_SECONDS)


@pytest.mark.parametrize(
    ("plant", "expected"), FAULTS, ids=[f"{number}-{told[0][1]}" for number, (_, told) in enumerate(FAULTS, 1)]
)
async def test_the_doctor_finds_the_fault_and_names_the_mend(
    own_system: OwnSystem, tmp_path: Path, plant: planted.Planting, expected: list[tuple[str, str, str]]
) -> None:
    found: list[Finding] = []

    def is_told(level: str, name: str, mend: str) -> bool:
        return any(each.level == level and each.name.startswith(name) and mend in each.mend for each in found)

    async with plant(own_system, tmp_path) as seen:

        async def is_found() -> bool:
            found[:] = (await examined(own_system, seen))[1]
            return all(is_told(*each) for each in expected)

        try:
            await eventually(is_found, timeout=FIND_SECONDS, pause=0.5)
        except AssertionError:
            raise AssertionError(f"not told: {expected}; told: {found}") from None
    assert all(len(line) <= 80 or " " not in line.strip() for each in found for line in findings.lines(each, 80))
