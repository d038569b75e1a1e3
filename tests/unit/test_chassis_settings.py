"""Settings that could not work are refused at the start, in one sentence each that names the variable."""

import os
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from services.chassis.identity import generate_key
from services.chassis.mail.smtp import SmtpSettings
from services.chassis.runtime.settings import Settings, sentences
from services.chassis.runtime.telemetry import SIGNING_KEY
from services.comments.settings import CommentsSettings
from services.gateway.settings import GatewaySettings
from services.notify.settings import NotifySettings
from services.people.settings import PeopleSettings
from services.posts.settings import PostsSettings

PEOPLE = {"PEOPLE_DATABASE_URL": "postgresql://people@127.0.0.1:1/people"}
NOTIFY = {"NOTIFY_DATABASE_URL": "postgresql://notify@127.0.0.1:1/notify"}
KEY = generate_key("people")[0]
DATABASES: dict[type[BaseSettings], dict[str, Any]] = {
    PostsSettings: {"posts_database_url": "postgresql://posts@db/posts"},
    CommentsSettings: {"comments_database_url": "postgresql://comments@db/comments"},
    PeopleSettings: {"people_database_url": "postgresql://people@db/people"},
    NotifySettings: {"notify_database_url": "postgresql://notify@db/notify"},
}
REFUSED: list[tuple[type[BaseSettings], str, str]] = [
    *[
        (Settings, "public_url", value)
        for value in (
            "",
            "blog.example",
            "blog.example:8000",
            "//blog.example",
            "ftp://blog.example",
            "https://",
            "https://blog.example/talk",
            "https://blog.example/?a",
            "https://blog.example/#top",
            "https://me@blog.example",
            "https://blog.example:port",
            "https://blog.example:99999",
            "https://[::1",
            "https://a blog.example",
        )
    ],
    *[(Settings, "log_level", value) for value in ("", "LOUD", "10")],
    *[
        (Settings, "kafka_bootstrap_servers", value)
        for value in (
            "",
            "kafka://broker:9092",
            "broker:",
            "broker:no",
            "broker:0",
            "a:9092,,b:9092",
            "http://x",
            "a b:1",
        )
    ],
    *[
        (PostsSettings, "posts_database_url", value)
        for value in (
            "",
            "nonsense",
            "mysql://posts@db/posts",
            "postgresql+asyncpg://db/posts",
            "postgresql://db:port/posts",
            "postgresql://posts:se#cret@db/posts",
            "postgresql://posts:se/cret@db/posts",
            "db:5432/posts",
        )
    ],
    *[(PostsSettings, "posts_port", value) for value in ("", "http", "0", "-1", "65536", "80.5")],
    *[
        (GatewaySettings, "redis_url", value)
        for value in ("", "valkey:6379", "redis://", "redis://h:port/0", "redis://h/x")
    ],
    (GatewaySettings, "trusted_proxies", "the proxy"),
    (GatewaySettings, "trusted_proxies", "10.0.0.0/99"),
    (GatewaySettings, "gateway_signing_key", ""),
    (GatewaySettings, "gateway_signing_key", "{}"),
    (GatewaySettings, "rate_limits", "maybe"),
    (GatewaySettings, "posts_url", "posts-api:8101"),
    (GatewaySettings, "read_deadline_seconds", "nan"),
    (PeopleSettings, "people_signing_key", "a key"),
    (PeopleSettings, "admin_emails", "root"),
    *[
        (PeopleSettings, "return_urls", value)
        for value in (
            "front.example",
            "http://front.example/",
            "http://localhost.evil.example/",
            "http://127.0.0.1.evil.example/",
            "http://10.0.0.1/",
            "https://",
            "https://front.example/#x",
            "https://front.example/#",
            "https://user@front.example/",
            "https://front.example:99999/",
            "https://front.example/a b",
            "https://front.example\\@evil.example/",
            "https://a;script-src/",
            "https://*.example/",
            "https://b\u00fccher.example/",
            "https://front.example/\u00fc",
            "https://ok.example/,javascript:alert(1)",
        )
    ],
    (PeopleSettings, "mail_from", "Rapport"),
    (PeopleSettings, "mail_from", "a@b@c"),
    (NotifySettings, "notify_secret", "short"),
    (NotifySettings, "people_url", "people"),
    (NotifySettings, "notify_mail_connections", "0"),
    (CommentsSettings, "comment_edit_window_seconds", "-1"),
    (SmtpSettings, "smtp_port", "smtp"),
    (SmtpSettings, "smtp_security", "ssl"),
    (Settings, "verification_keys", "{}"),
    (Settings, "verification_keys", "nonsense"),
    (Settings, "database_pool_size", "0"),
    (Settings, "database_pooler", "session"),
    (Settings, "kafka_security_protocol", "TLS"),
    (Settings, "kafka_sasl_mechanism", "GSSAPI"),
    (Settings, "kafka_ca_file", "/nowhere/ca.pem"),
    (Settings, "kafka_ca_file", __file__),
    (PostsSettings, "posts_database_direct_url", "pgbouncer:6432"),
    (Settings, "kafka_timeout_seconds", "inf"),
    (Settings, "drain_seconds", "-1"),
    (Settings, "environment", "staging"),
]


def refused(kind: type[BaseSettings], **values: Any) -> list[str]:
    with pytest.raises(ValidationError) as error:
        kind(**values)
    return sentences(kind, error.value)


@pytest.mark.parametrize(("kind", "field", "value"), REFUSED)
def test_what_cannot_work_is_refused_in_a_sentence(kind: type[BaseSettings], field: str, value: str) -> None:
    found = [
        one for one in refused(kind, **(DATABASES.get(kind, {}) | {field: value})) if one.startswith(field.upper())
    ]
    assert len(found) == 1
    assert found[0].endswith(".")
    assert found[0].count("\n") == 0
    assert "Value error" not in found[0]


@pytest.mark.parametrize(
    ("kind", "field", "value", "read"),
    [
        (Settings, "public_url", "https://blog.example/", "https://blog.example"),
        (Settings, "public_url", "http://[::1]:8000", "http://[::1]:8000"),
        (Settings, "public_url", "https://bücher.example", "https://bücher.example"),
        (Settings, "log_level", "debug", "DEBUG"),
        (Settings, "kafka_bootstrap_servers", "a:9092, b , [::1]:9092", "a:9092,b,[::1]:9092"),
        (PeopleSettings, "return_urls", "", None),
        (PeopleSettings, "return_urls", "https://a.example/in?x=1&y=%20", None),
        (
            PeopleSettings,
            "return_urls",
            "http://localhost:3000/in, http://127.1.2.3/ ,,http://[::1]:3/",
            "http://localhost:3000/in,http://127.1.2.3/,http://[::1]:3/",
        ),
        (PostsSettings, "posts_database_url", "postgres://h1:5432,h2:5433/posts?sslmode=require", None),
        (PostsSettings, "posts_database_url", "postgresql:///posts?host=/run/postgresql", None),
        (PostsSettings, "posts_database_url", "postgresql://posts:p%23%2Fw@db/posts", None),
    ],
)
def test_what_can_work_is_accepted(kind: type[BaseSettings], field: str, value: str, read: str | None) -> None:
    assert getattr(kind(**(DATABASES.get(kind, {}) | {field: value})), field) == (read or value)


def test_networks_are_read_as_the_gateway_reads_them(keys: dict[str, str]) -> None:
    key = keys["GATEWAY_SIGNING_KEY"]
    settings = GatewaySettings(gateway_signing_key=key, trusted_proxies="10.1.2.3/8, ::1", redis_url="unix:///run/v")
    assert settings.trusted_proxies == "10.0.0.0/8,::1/128"


def test_links_are_https_in_production(keys: dict[str, str]) -> None:
    for kind in (PeopleSettings, NotifySettings):
        found = refused(kind, **DATABASES[kind], environment="production")
        assert any("PUBLIC_URL must be https" in one for one in found)


def test_secrets_are_not_shown() -> None:
    shown = refused(PostsSettings, posts_database_url="postgresql://posts:hunter2@db:x/posts")
    people = DATABASES[PeopleSettings]
    shown += refused(PeopleSettings, **people, people_signing_key="hunter2", verification_keys="hunter2")
    shown += refused(NotifySettings, notify_secret="hunter2", notify_database_url="postgresql://n:hunter2@db:x/n")
    shown += refused(GatewaySettings, gateway_signing_key="hunter2", redis_url="redis://:hunter2@h:x/0")
    shown += refused(PeopleSettings, **people, people_other_signing_key="hunter2")
    for others in ("hunter2", '["hunter2"]', f'{{"{"h" * 32}": "hunter2"}}'):
        shown += refused(NotifySettings, **DATABASES[NotifySettings], notify_other_secrets=others)
    assert len(shown) == 11
    assert "hunter2" not in "".join(shown)


@pytest.mark.parametrize(
    ("service", "role", "given", "named"),
    [
        (
            "posts",
            "migrate",
            {"POSTS_DATABASE_URL": "nonsense", "LOG_LEVEL": "LOUD"},
            ["LOG_LEVEL=LOUD", "POSTS_DATABASE_URL"],
        ),
        ("posts", "api", {}, ["POSTS_DATABASE_URL is not set."]),
        ("people", "migrate", {}, ["PEOPLE_DATABASE_URL is not set."]),
        ("notify", "all", {}, ["NOTIFY_DATABASE_URL is not set."]),
        ("people", "mailer", {**PEOPLE, "SMTP_PORT": "smtp", "PEOPLE_SIGNING_KEY": KEY}, ["SMTP_PORT=smtp"]),
        (
            "people",
            "mailer",
            {**PEOPLE, "MAIL_FROM": "X <a..b@host.example>"},
            ["MAIL_FROM=X <a..b@host.example> cannot"],
        ),
        ("people", "mailer", PEOPLE, ["PEOPLE_SIGNING_KEY is not set."]),
        ("people", "all", PEOPLE, ["PEOPLE_SIGNING_KEY is not set."]),
        ("notify", "mailer", NOTIFY, ["NOTIFY_SIGNING_KEY is not set.", "NOTIFY_SECRET is not set."]),
        (
            "notify",
            "api",
            {**NOTIFY, "NOTIFY_SECRET": ""},
            ["NOTIFY_SIGNING_KEY is not set.", "NOTIFY_SECRET is not set."],
        ),
    ],
)
def test_a_process_ends_with_sentences_only(service: str, role: str, given: dict[str, str], named: list[str]) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **given}
    command = [sys.executable, "-m", f"services.{service}", role]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stdout == ""
    lines = ended.stderr.splitlines()
    assert len(lines) == len(named)
    assert all(line.startswith(start) for line, start in zip(lines, named, strict=True))


@pytest.mark.parametrize(
    "given",
    [
        {"kafka_security_protocol": "SASL_SSL"},
        {"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_username": "posts"},
        {"kafka_security_protocol": "sasl_ssl", "kafka_password": "hunter2"},
        {"kafka_username": "posts", "kafka_password": "hunter2"},
        {"kafka_security_protocol": "SSL", "kafka_username": "posts", "kafka_password": "hunter2"},
    ],
)
def test_a_credential_of_the_broker_is_whole_or_absent(given: dict[str, str]) -> None:
    [sentence] = refused(Settings, **given)
    assert sentence.startswith("KAFKA_")
    assert "KAFKA_SECURITY_PROTOCOL" in sentence
    assert "hunter2" not in sentence


def test_a_key_that_is_only_read_is_not_told_as_one_that_signs(keys: dict[str, str]) -> None:
    other = generate_key("people", "read")[0]
    read = PeopleSettings(**DATABASES[PeopleSettings], people_other_signing_key=other)
    assert read.people_other_signing_key == other
    told = {sample.labels["kid"] for family in SIGNING_KEY.own.collect() for sample in family.samples}
    assert "people-read" not in told
