"""`rapport doctor` against a running system: it finds nothing wrong there, and each fault that is planted."""

import json
import time
from typing import Any

from services.operator.doctor.examination import Surroundings
from services.operator.doctor.internal_routes import check_services
from services.operator.doctor.sender_dns import txt_records
from services.operator.doctor.settings import DoctorSettings
from services.operator.keys import generate_keys
from tests.e2e.test_operator_command import Ended, rapport
from tests.servers import free_port
from tests.stack import Stack, paused
from tests.waiting import eventually


def surroundings_of(stack: Stack) -> dict[str, str]:
    return {"METRICS_URLS": ",".join(f"http://127.0.0.1:{part.metrics_port}" for part in stack.parts.values())}


async def doctor(stack: Stack, **environment: str) -> tuple[Ended, dict[str, dict[str, Any]]]:
    """Return how the command has ended, and what is not ok, by name."""
    ended = await rapport(stack, "doctor", "--json", **(surroundings_of(stack) | environment))
    told = json.loads(ended.out)
    assert ended.status == (1 if told["faults"] else 0), told
    return ended, {each["name"]: each for each in told["findings"] if each["level"] != "ok"}


async def test_a_running_system_has_no_fault(stack: Stack) -> None:
    ended = await rapport(stack, "doctor", **(surroundings_of(stack) | {"COLUMNS": "80"}))
    assert ended.status == 0, ended.out
    lines = ended.out.splitlines()
    assert lines[-1].endswith(" 0 faults.")
    assert all(len(line) <= 80 for line in lines)
    for text in ("posts: http", "relay of comments: it runs", "consumer of notify: it runs", "Valkey: it answers",
                 "clock of people: it agrees", "versions: all", "mail server: 127.0.0.1", "disk "):  # fmt: skip
        assert f"ok       {text}" in ended.out, ended.out


async def test_a_wrong_key(stack: Stack) -> None:
    _, found = await doctor(stack, OPERATOR_SIGNING_KEY=generate_keys()["OPERATOR_SIGNING_KEY"])
    for name in ("posts", "comments", "people", "notify", "OPERATOR_SIGNING_KEY"):
        assert found[name]["level"] == "fault"
        assert "VERIFICATION_KEYS" in found[name]["mend"]


async def test_a_service_that_is_away(stack: Stack) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    _, found = await doctor(stack, PEOPLE_URL=away, METRICS_URLS=away)
    assert "PEOPLE_URL" in found["people"]["mend"]
    assert "nothing listens there" in found[f"process {away}"]["found"]
    assert "posts" not in found


async def test_a_process_that_hangs_is_named_in_time(stack: Stack) -> None:
    part = stack.part("posts")
    with paused(part):
        ended, found = await doctor(stack)
    assert found["posts"]["level"] == "fault"
    assert "no answer within" in found[f"process http://127.0.0.1:{part.metrics_port}"]["found"]
    assert "Still looking at processes, services" in ended.err


async def test_a_wrong_clock(stack: Stack) -> None:
    settings = DoctorSettings.model_validate(
        {
            "operator_signing_key": stack.keys["OPERATOR_SIGNING_KEY"],
            **{f"{name}_url": f"http://127.0.0.1:{stack.ports[name]}" for name in stack.database_urls},
        }
    )

    async def levels(seconds: float) -> set[tuple[str, str]]:
        around = Surroundings(settings, txt_records, now=lambda: time.time() + seconds)
        return {(each.level, each.name) for each in await check_services(around) if each.name.startswith("clock")}

    async def are(level: str, seconds: float) -> bool:
        return await levels(seconds) == {(level, f"clock of {name}") for name in stack.database_urls}

    await eventually(lambda: are("ok", 0))  # a process that was stopped before tells an old time for a second
    assert await are("warning", 6)
    assert await are("fault", -40)


async def test_other_servers_that_are_away_and_settings_that_cannot_be(stack: Stack) -> None:
    nowhere = str(free_port())
    _, found = await doctor(
        stack,
        REDIS_URL=f"redis://127.0.0.1:{nowhere}/0",
        SMTP_PORT=nowhere,
        KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{nowhere}",
        ENVIRONMENT="production",
        PUBLIC_URL="http://blog.example.org",
    )
    for name in ("Valkey", "mail server", "Kafka", "PUBLIC_URL"):
        assert found[name]["level"] == "fault", found
        assert found[name]["mend"]
    _, found = await doctor(stack, KAFKA_USERNAME="operator", POSTS_URL="nowhere")
    assert "POSTS_URL" in found["settings"]["found"]


async def test_a_paused_partition_is_a_warning(stack: Stack) -> None:
    assert (await rapport(stack, "consumer", "pause", "notify", "comments.events", "3")).status == 0
    try:
        ended, found = await doctor(stack)
        assert ended.status == 0, [one for one in found.values() if one["level"] == "fault"]
        assert found["comments.events 3"]["level"] == "warning"
        assert "rapport consumer resume notify comments.events 3" in found["comments.events 3"]["mend"]
    finally:
        assert (await rapport(stack, "consumer", "resume", "notify", "comments.events", "3")).status == 0


async def test_help_has_an_example(stack: Stack) -> None:
    ended = await rapport(stack, "doctor", "--help")
    assert "Example: rapport doctor" in ended.out
