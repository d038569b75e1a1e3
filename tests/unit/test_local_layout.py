"""The servers that the environment replaces, and the ports needed then."""

from pathlib import Path

import pytest

from deploy.local.layout import PORTS, SERVICES, Layout
from deploy.local.processes import LocalError

DATABASE_URLS = {
    f"{service}_DATABASE_URL": f"postgresql://db.example/{service}" for service in ("POSTS", "COMMENTS", "PEOPLE")
}


def layout(**given: str) -> Layout:
    return Layout(Path("/nowhere"), given)


def test_everything_is_local_by_default() -> None:
    plain = layout()
    assert plain.ports_needed() == PORTS
    assert plain.public_url == "http://127.0.0.1:8000"
    assert plain.bootstrap == "127.0.0.1:19092"


@pytest.mark.parametrize(("profile", "processes"), [("", SERVICES), ("full", SERVICES), ("small", ("all-in-one",))])
def test_a_profile_says_in_how_many_processes_the_services_run(profile: str, processes: tuple[str, ...]) -> None:
    assert layout(PROFILE=profile).processes == processes


def test_an_unknown_profile_is_named() -> None:
    with pytest.raises(LocalError, match="PROFILE=tiny is not known: set full or small"):
        _ = layout(PROFILE="tiny").processes


@pytest.mark.parametrize(
    ("given", "unused"),
    [
        ({"REDIS_URL": "redis://cache.example"}, {"VALKEY_PORT"}),
        ({"KAFKA_BOOTSTRAP_SERVERS": "broker.example:9092"}, {"KAFKA_PORT", "KAFKA_CONTROLLER_PORT"}),
        ({"SMTP_HOST": "mail.example"}, {"SMTP_PORT", "MAILBOX_PORT"}),
        ({"SMTP_PORT": "2526"}, set()),
        (DATABASE_URLS, set()),
        ({**DATABASE_URLS, "NOTIFY_DATABASE_URL": "postgresql://db.example/notify"}, {"POSTGRES_PORT"}),
    ],
)
def test_a_given_server_needs_no_local_port(given: dict[str, str], unused: set[str]) -> None:
    assert PORTS.keys() - layout(**given).ports_needed().keys() == unused


def test_an_empty_variable_counts_as_unset() -> None:
    assert layout(REDIS_URL="", KAFKA_BOOTSTRAP_SERVERS="", GATEWAY_PORT="").ports_needed() == PORTS


@pytest.mark.parametrize("value", ["http", "0", "65536", "-1", "80.5", "٨٠٨٠", "9" * 5000])
def test_an_invalid_port_is_named(value: str) -> None:
    with pytest.raises(LocalError, match=r"POSTS_PORT=.* is not a port"):
        layout(POSTS_PORT=value).port("POSTS_PORT")


def test_a_duplicate_port_is_named() -> None:
    with pytest.raises(LocalError, match="GATEWAY_PORT and POSTS_PORT are both 8101"):
        layout(GATEWAY_PORT="8101").ports_needed()
