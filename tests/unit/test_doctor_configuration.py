"""What the doctor says about connections that can be read on the way."""

from typing import Any

import pytest

from services.operator.doctor.configuration import check_settings
from services.operator.doctor.examination import Surroundings
from services.operator.doctor.settings import DoctorSettings
from services.operator.keys import generate_keys

KEYS = generate_keys()
SAFE = {
    "environment": "production",
    "public_url": "https://blog.example",
    "operator_signing_key": KEYS["OPERATOR_SIGNING_KEY"],
    "verification_keys": KEYS["VERIFICATION_KEYS"],
    "kafka_bootstrap_servers": "kafka.internal:9093",
    "kafka_security_protocol": "SASL_SSL",
    "kafka_username": "operator",
    "kafka_password": "secret",
    "redis_url": "rediss://:secret@valkey.internal:6379/0",
    "posts_database_url": "postgresql://posts:secret@postgres.internal/posts?sslmode=verify-full",
}


async def warnings(**changes: Any) -> list[tuple[str, str]]:
    async def no_dns(_: str) -> list[str]:
        return []

    settings = DoctorSettings.model_validate(SAFE | changes)
    found = [each for each in await check_settings(Surroundings(settings, no_dns)) if each.level != "ok"]
    assert all(each.level == "warning" and each.mend for each in found)
    assert not any("secret" in each.found + each.mend for each in found)
    return [(each.name, each.mend) for each in found]


async def test_doors_that_are_locked() -> None:
    assert await warnings() == []


@pytest.mark.parametrize(
    ("variable", "value", "mend"),
    [
        ("redis_url", "redis://:secret@valkey.internal:6379/0", "rediss://"),
        ("posts_database_url", "postgresql://posts:secret@postgres.internal/posts", "sslmode=verify-full"),
        ("notify_database_direct_url", "postgresql://n:secret@db.internal/n?sslmode=disable", "sslmode=verify-full"),
        ("people_database_url", "postgresql://p:secret@127.0.0.1,db2.internal:5433/p", "sslmode=verify-full"),
        ("kafka_security_protocol", "SASL_PLAINTEXT", "SASL_SSL"),
    ],
)
async def test_a_connection_without_tls_to_another_machine_is_a_warning(variable: str, value: str, mend: str) -> None:
    [(name, said)] = await warnings(**{variable: value})
    assert name == variable.upper()
    assert mend in said
    assert await warnings(**{variable: value}, environment="development", public_url="http://localhost") == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("redis_url", "redis://127.0.0.1:6379/0"),
        ("redis_url", "unix:///run/valkey.sock"),
        ("posts_database_url", "postgresql://posts:secret@127.0.0.1:5432/posts"),
        ("posts_database_url", "postgresql://posts:secret@[::1]:5432/posts"),
        ("posts_database_url", "postgresql:///posts?host=/run/postgresql"),
        ("posts_database_url", "postgresql://posts:secret@db.internal/posts?sslmode=require"),
    ],
)
async def test_this_machine_needs_none(variable: str, value: str) -> None:
    assert await warnings(**{variable: value}) == []
