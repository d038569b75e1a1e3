"""The doctor's checks of settings, disks, DNS and metrics, and how it shows what it has found."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from services.operator.__main__ import app
from services.operator.doctor import findings
from services.operator.doctor.configuration import check_settings
from services.operator.doctor.disks import GIB, check_disks
from services.operator.doctor.examination import Check, Space, Surroundings, examine
from services.operator.doctor.findings import Finding, fault, ok, warning
from services.operator.doctor.known_keys import look_at_keys
from services.operator.doctor.partitions import consumer, halted
from services.operator.doctor.sender_dns import Unanswered, check_sender, txt_records
from services.operator.doctor.settings import DoctorSettings
from services.operator.doctor.waiting_work import look_at_metrics
from services.operator.keys import generate_keys
from tests.dns import name_server


async def silent(_: str) -> list[str]:
    raise Unanswered("Timeout")


def around(settings: dict[str, Any] | None = None, **other: Any) -> Surroundings:
    return Surroundings(DoctorSettings.model_validate(settings or {}), other.pop("resolve", silent), **other)


def levels(found: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.level, finding.name) for finding in found]


def test_a_finding_is_whole_at_80_columns() -> None:
    words = "one of the long sentences that say what was found " * 4
    address = "http://" + "a" * 100
    shown = findings.lines(fault("Kafka", f"{words}{address}", "Do this and that, then repeat it. " * 4), 80)
    assert all(len(line) <= 80 for line in shown if address not in line)
    assert " ".join(" ".join(shown).split()).startswith(f"fault Kafka: {words}{address}. mend: Do this and that")
    assert shown[0].startswith("fault    Kafka: one of")
    assert findings.lines(ok("Kafka", "it\x1b[31m answers"), 20) == [
        "ok       Kafka: it",
        "         [31m",
        " " * 9 + "answers.",
    ]
    assert findings.summary([ok("a", "b"), warning("a", "b", "c")]) == "1 ok, 1 warning, 0 faults."
    assert findings.as_json([warning("a", "b", "c")]) == {
        "ok": 0,
        "warnings": 1,
        "faults": 0,
        "findings": [{"level": "warning", "name": "a", "found": "b", "mend": "c"}],
    }


async def test_what_does_not_answer_or_fails_hides_nothing_else() -> None:
    async def stuck(_: Surroundings) -> list[Finding]:
        await asyncio.Event().wait()
        return []

    async def broken(_: Surroundings) -> list[Finding]:
        raise ZeroDivisionError("division by zero")

    async def fine(_: Surroundings) -> list[Finding]:
        return [ok("fine", "it is")]

    checks: dict[str, Check] = {"stuck": stuck, "broken": broken, "fine": fine}
    said: list[str] = []
    found = await examine(around(), checks, said.append, seconds=0.1)
    assert levels(found) == [("fault", "stuck"), ("fault", "broken"), ("ok", "fine")]
    assert "no answer within 0.1 s" in found[0].found
    assert "division by zero" in found[1].found
    assert said == []


@pytest.mark.parametrize(
    ("settings", "level", "name", "word"),
    [
        ({"environment": "production", "public_url": "http://blog.example.org"}, "fault", "PUBLIC_URL", "https"),
        ({"public_url": "https://blog.example.org"}, "warning", "ENVIRONMENT", "development"),
        ({"operator_signing_key": ""}, "fault", "OPERATOR_SIGNING_KEY", "not set"),
        ({"operator_signing_key": "secret"}, "fault", "OPERATOR_SIGNING_KEY", "not a private key"),
        (
            {"environment": "production", "public_url": "https://a.example", "kafka_bootstrap_servers": "kafka:9092"},
            *("warning", "KAFKA_SECURITY_PROTOCOL", "PLAINTEXT"),
        ),
        (
            {"environment": "production", "public_url": "https://a.example", "smtp_host": "smtp.a.example"},
            *("warning", "SMTP_SECURITY", "none"),
        ),
    ],
)
async def test_settings_that_should_not_be(
    keys: dict[str, str], settings: dict[str, Any], level: str, name: str, word: str
) -> None:
    own = {"operator_signing_key": keys["OPERATOR_SIGNING_KEY"], "verification_keys": keys["VERIFICATION_KEYS"]}
    assert levels(await check_settings(around(own))) == [("ok", "settings")]
    [found] = await check_settings(around(own | settings))
    assert (found.level, found.name) == (level, name)
    assert word in found.found
    assert found.mend
    assert "secret" not in f"{found.found}{found.mend}"


async def test_a_key_of_another_set_is_named() -> None:
    mine, others = generate_keys(), generate_keys()
    settings = {
        "operator_signing_key": others["OPERATOR_SIGNING_KEY"],
        "verification_keys": mine["VERIFICATION_KEYS"],
    }
    [found] = await check_settings(around(settings))
    assert (found.level, found.name) == ("fault", "OPERATOR_SIGNING_KEY")
    assert "VERIFICATION_KEYS" in found.found


@pytest.mark.parametrize(
    ("total", "free", "level"),
    [(100, 50, "ok"), (100, 9, "ok"), (100, 4, "warning"), (100, 0.5, "fault"), (1000, 15, "fault"), (20, 4, "ok")],
)
async def test_a_full_disk(total: float, free: float, level: str) -> None:
    space = Space(int(total * GIB), int(free * GIB))
    [found] = await check_disks(around(disks=[Path("/data")], space=lambda _: space))
    assert (found.level, found.name) == (level, "disk /data")
    assert f"{free:.1f} GiB" in found.found
    assert bool(found.mend) == (level != "ok")


async def test_a_disk_that_is_not_there() -> None:
    [found] = await check_disks(around(disks=[Path("/no/such/place")]))
    assert (found.level, found.found) == ("fault", "it cannot be looked at: No such file or directory")


PUBLISHED = {
    "mail.rapport.dev": ["google-site-verification=x", "v=spf1 mx -all"],
    "k1._domainkey.mail.rapport.dev": ["v=DKIM1; k=rsa; p=MIIB"],
    "_dmarc.rapport.dev": ["v=DMARC1; p=reject"],
}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, ["ok", "ok", "ok"]),
        ({"mail.rapport.dev": ["something"]}, ["warning", "ok", "ok"]),
        ({"mail.rapport.dev": ["v=spf1 mx -all", "V=SPF1 a -all"]}, ["fault", "ok", "ok"]),
        ({"mail.rapport.dev": ["v=spf1 +all"]}, ["warning", "ok", "ok"]),
        ({"k1._domainkey.mail.rapport.dev": []}, ["ok", "fault", "ok"]),
        ({"k1._domainkey.mail.rapport.dev": ["v=DKIM1; p="]}, ["ok", "fault", "ok"]),
        ({"_dmarc.rapport.dev": []}, ["ok", "ok", "warning"]),
        ({"_dmarc.mail.rapport.dev": ["v=DMARC1; p=none"]}, ["ok", "ok", "ok"]),
        ({"_dmarc.rapport.dev": ["v=DMARC1; rua=mailto:a@b.c"]}, ["ok", "ok", "fault"]),
        ({"_dmarc.rapport.dev": ["v=DMARC1; p=none", "v=DMARC1; p=none"]}, ["ok", "ok", "fault"]),
    ],
)
async def test_dns_of_the_sender(changed: dict[str, list[str]], expected: list[str]) -> None:
    async def resolve(name: str) -> list[str]:
        return (PUBLISHED | changed).get(name, [])

    settings = {"mail_from": "Blog <hello@mail.rapport.dev>"}
    found = await check_sender(around(settings, resolve=resolve, dkim_selector="k1"))
    assert [finding.level for finding in found] == expected
    assert all(finding.mend for finding in found if finding.level != "ok")
    assert levels(await check_sender(around(settings, resolve=resolve)))[1] == ("warning", "DKIM of mail.rapport.dev")


async def test_dns_that_does_not_answer_is_a_warning() -> None:
    assert levels(await check_sender(around({"mail_from": "hello@rapport.dev"}))) == [("warning", "MAIL_FROM")]
    assert levels(await check_sender(around())) == [("warning", "MAIL_FROM")]
    local = {"mail_from": "hello@localhost"}
    assert levels(await check_sender(around(local))) == [("ok", "MAIL_FROM")]
    real = {"environment": "production", "public_url": "https://rapport.dev"}
    assert levels(await check_sender(around(local | real))) == [("fault", "MAIL_FROM")]


def test_metrics_of_all_processes_together() -> None:
    def metric(value: float, **labels: str) -> list[tuple[dict[str, str], float]]:
        return [(labels, value)]

    standby = {"rapport_relay_owner": metric(0, service="posts")}
    owner = {
        "rapport_relay_owner": metric(1, service="posts"),
        "rapport_relay_backlog": metric(3, service="posts"),
        "rapport_relay_oldest_seconds": metric(2, service="posts"),
    }
    assert list(look_at_metrics({"posts", "gateway"}, [standby, owner])) == [
        ok("relay of posts", "it runs; 3 events wait")
    ]
    half = {name: [(labels, value / 2) for labels, value in samples] for name, samples in owner.items()}
    assert list(look_at_metrics({"posts"}, [half, standby, half])) == [ok("relay of posts", "it runs; 3 events wait")]
    [found] = look_at_metrics({"posts"}, [half])
    assert (found.level, found.found) == ("fault", "the processes send 50% of its outbox")
    [found] = look_at_metrics({"posts"}, [standby])
    assert (found.level, found.name) == ("fault", "relay of posts")
    [found] = look_at_metrics({"posts"}, [owner | {"rapport_relay_oldest_seconds": metric(95, service="posts")}])
    assert (found.level, found.found) == ("fault", "3 events wait, the oldest for 95 s")
    for name, value, level in (
        ("rapport_gateway_deaf_seconds", 31, "fault"),
        ("rapport_gateway_valkey_away", 1, "fault"),
        ("rapport_mail_server_unusable", 1, "fault"),
        ("rapport_mail_due_oldest_seconds", 301, "warning"),
        ("rapport_consumer_lag_unknown", 1, "warning"),
        ("rapport_sign_in_waiting_oldest_seconds", 61, "fault"),
        ("rapport_scheduled_due_oldest_seconds", 31, "fault"),
    ):
        [found] = look_at_metrics(set(), [{name: metric(value)}, {name: metric(0)}])
        assert found.level == level
        assert list(look_at_metrics(set(), [{name: metric(0)}])) == []


def test_halted_partitions_and_consumers() -> None:
    each = {"topic": "comments.events", "partition": 3, "since": "2026-11-27T10:00:00.000Z", "reason": "no ce_type"}
    each |= {"state": "stopped", "next_offset": 120, "skipping": None, "lag": 60}
    [found] = halted("notify", [each, each | {"state": "running"}, each | {"skipping": "120..130"}])
    assert (found.level, found.name) == ("fault", "comments.events 3")
    assert "rapport consumer resume notify comments.events 3" in found.mend
    assert "rapport consumer skip notify comments.events 3 120..LAST" in found.mend
    assert [one.level for one in halted("notify", [each | {"state": "paused"}])] == ["warning"]
    for running, lag, level in (
        (True, 60, "ok"),
        (True, 1_001, "warning"),
        (False, 60, "fault"),
        (None, None, "warning"),
    ):
        answer = {"running": running, "partitions": [{"lag": lag}]}
        assert [one.level for one in consumer("notify", answer)] == [level]


def test_a_service_that_does_not_know_the_key_of_a_caller() -> None:
    def keys(name: str, *kids: str) -> dict[str, list[tuple[dict[str, str], float]]]:
        return {f"rapport_{name}_key": [({"kid": kid, "thumbprint": f"of {kid}"}, 1.0) for kid in kids]}

    gateway = ("gateway", keys("signing", "gateway-2") | keys("verification", "people-1"))
    notify = ("notify", keys("signing", "notify-1") | keys("verification", "gateway-1", "gateway-2"))
    people = ("people", keys("signing", "people-1") | keys("verification", "gateway-2", "notify-1", "operator-1"))
    mailer = ("notify", keys("signing", "notify-1"))
    assert levels(list(look_at_keys([gateway, notify, people, mailer]))) == [("ok", "verification keys")]
    posts = ("posts", keys("verification", "gateway-1", "notify-1", "people-1"))
    [found] = look_at_keys([gateway, notify, people, mailer, posts])
    assert (found.level, found.name) == ("fault", "VERIFICATION_KEYS of posts")
    assert found.found.startswith("it does not hold the key gateway-2 of gateway,")
    other = {"rapport_verification_key": [({"kid": "people-1", "thumbprint": "of another set"}, 1.0)]}
    [found] = look_at_keys([people, ("gateway", other)])
    assert found.name == "VERIFICATION_KEYS of gateway"
    assert list(look_at_keys([mailer])) == []


async def test_the_name_server_that_is_asked() -> None:
    async with name_server([], {"mail.rapport.dev": ["v=spf1 mx -all", "other"]}) as names:
        there = ("127.0.0.1", names.port)
        assert await txt_records("mail.rapport.dev", server=there) == ["v=spf1 mx -all", "other"]
        assert await txt_records("nowhere.rapport.dev", server=there) == []


def test_a_name_server_has_an_address() -> None:
    for given in ("dns.example", "1.2.3.4:x"):
        ended = CliRunner().invoke(app, ["doctor", "--name-server", given], env={"COLUMNS": "120"})
        assert ended.exit_code == 2
        assert "must be an IP address" in ended.output


def test_work_that_fails_again_and_again_is_named() -> None:
    metrics = {"rapport_periodic_failing_runs": [({"work": "retention"}, 3.0), ({"work": "ask Valkey"}, 2.0)]}
    [found] = look_at_metrics(set(), [metrics, metrics])
    assert (found.level, found.found) == ("warning", "“retention” fails again and again")


def test_what_is_to_be_copied_is_on_one_line() -> None:
    command = "`rapport consumer skip comments posts.events 3 120..140`"
    shown = findings.lines(fault("posts.events 3", "stopped", f"Mend the cause of all this, then {command}."), 60)
    assert any(command in line for line in shown)
