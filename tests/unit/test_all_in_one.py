"""One process for all services reads the settings of each from one environment."""

import os
from pathlib import Path

import pytest

from services.all_in_one.settings import OWNERS, Everything
from services.chassis.errors import CannotStart

DATABASES = {f"{name.upper()}_DATABASE_URL": f"postgresql://{name}@db/{name}" for name in OWNERS}


@pytest.fixture
def environment(keys: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name.startswith(("KAFKA_", *(f"{owner.upper()}_" for owner in (*OWNERS, "gateway")))):
            monkeypatch.delenv(name)
    for name, value in (DATABASES | keys).items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_each_service_has_its_own_database_and_calls_the_others_in_the_process(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("PEOPLE_URL", "http://elsewhere.example:8103")
    found = Everything.load()
    assert found.posts.posts_database_url == DATABASES["POSTS_DATABASE_URL"]
    assert found.people.people_database_url == DATABASES["PEOPLE_DATABASE_URL"]
    for caller in (found.notify, found.gateway):
        assert [getattr(caller, f"{name}_url") for name in OWNERS] == [f"http://{name}" for name in OWNERS]
    found.check_ports()


def test_each_service_has_its_own_account_at_the_broker(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
    environment.setenv("KAFKA_USERNAME", "everybody")
    environment.setenv("KAFKA_PASSWORD", "known")
    environment.setenv("POSTS_KAFKA_USERNAME", "posts")
    environment.setenv("POSTS_KAFKA_PASSWORD_FILE", str(tmp_path / "password"))
    (tmp_path / "password").write_text("secret\n")
    found = Everything.load()
    assert (found.posts.kafka_username, found.posts.kafka_password) == ("posts", "secret")
    assert (found.comments.kafka_username, found.comments.kafka_password) == ("everybody", "known")


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("NOTIFY_SECRET", "short", "NOTIFY_SECRET cannot be used"),
        ("PEOPLE_KAFKA_PASSWORD_FILE", "/nowhere", "PEOPLE_KAFKA_PASSWORD cannot be used"),
    ],
)
def test_a_setting_that_cannot_work_ends_it_with_a_sentence(
    variable: str, value: str, sentence: str, environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv(variable, value)
    with pytest.raises(SystemExit) as ended:
        Everything.load()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(sentence)


def test_two_services_at_one_port_are_named(environment: pytest.MonkeyPatch) -> None:
    for name in OWNERS:
        environment.setenv(f"{name.upper()}_METRICS_PORT", "9100")  # as in the image
    with pytest.raises(CannotStart, match=r"^POSTS_METRICS_PORT, .*, GATEWAY_METRICS_PORT are all 9100: "):
        Everything.load().check_ports()
