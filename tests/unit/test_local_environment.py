"""Each process of the local stack gets its own secrets only."""

from pathlib import Path

import pytest

from deploy.local import environment, passwords
from deploy.local.layout import DATABASES, SERVICES, Layout
from deploy.local.processes import LocalError
from services.chassis.mail.sender import Sender

MADE = {name: f"made-{name.lower()}" for name in environment.SECRETS} | {"VERIFICATION_KEYS": '{"keys": []}'}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    (tmp_path / "keys.env").write_text("".join(f"{name}='{value}'\n" for name, value in MADE.items()))
    return Layout(tmp_path, {"PATH": "/bin", "HOST": "myhost", "POSTS_DATABASE_URL": "postgresql://db.example/posts"})


@pytest.mark.parametrize("service", [*SERVICES, "operator"])
def test_each_process_gets_its_own_secrets_only(layout: Layout, service: str) -> None:
    found = environment.of(layout, service)
    own = set(environment.OWN_SECRETS.get(service, ()))
    assert environment.SECRETS & found.keys() == own
    assert {name: found[name] for name in own} == {name: MADE[name] for name in own}
    databases = {name for name in found if name.endswith("_DATABASE_URL")}
    assert databases == ({f"{service.upper()}_DATABASE_URL"} if service in DATABASES else set())


def test_a_password_goes_to_those_who_use_it(layout: Layout) -> None:
    given = Layout(layout.home, {**layout.given, "SMTP_PASSWORD": "of the mail server"})
    having = {service: environment.of(given, service).keys() for service in (*SERVICES, "operator")}
    assert {service for service, names in having.items() if "SMTP_PASSWORD" in names} == {
        "people",
        "notify",
        "operator",
    }
    assert {service for service, names in having.items() if "REDIS_URL" in names} == {"gateway", "operator"}


def test_one_process_for_all_gets_what_each_service_gets_and_an_account_for_each(layout: Layout) -> None:
    found = environment.for_all_in_one(layout)
    each = {service: environment.of(layout, service) for service in SERVICES}
    for service, own in each.items():
        account = {f"{service.upper()}_{name}": own.pop(name) for name in ("KAFKA_USERNAME", "KAFKA_PASSWORD")}
        assert account[f"{service.upper()}_KAFKA_USERNAME"] == service
        assert own.items() | account.items() <= found.items()
    assert "KAFKA_USERNAME" not in found
    assert "OPERATOR_SIGNING_KEY" not in found
    elsewhere = Layout(layout.home, {**layout.given, "KAFKA_BOOTSTRAP_SERVERS": "broker:9092", "KAFKA_USERNAME": "me"})
    assert environment.for_all_in_one(elsewhere)["KAFKA_USERNAME"] == "me"


def test_a_given_database_is_used_and_others_are_local(layout: Layout) -> None:
    assert environment.of(layout, "posts")["POSTS_DATABASE_URL"] == "postgresql://db.example/posts"
    local = environment.of(layout, "people")["PEOPLE_DATABASE_URL"]
    assert local.startswith("postgresql://people:")
    assert local.endswith("@127.0.0.1:54320/people")
    assert environment.of(layout, "people")["PEOPLE_DATABASE_URL"] == local  # the password is stored


def test_passwords_differ_and_are_private(layout: Layout) -> None:
    found = passwords.of_databases(layout)
    assert len(set(found.values())) == len(DATABASES)
    assert (layout.home / "database-passwords.json").stat().st_mode & 0o077 == 0


def test_everything_listens_on_this_machine_only(layout: Layout) -> None:
    assert environment.of(layout, "gateway")["HOST"] == "127.0.0.1"


def test_smtp_port_follows_the_server(tmp_path: Path, layout: Layout) -> None:
    assert environment.shared(layout)["SMTP_PORT"] == "2525"
    elsewhere = Layout(layout.home, {**layout.given, "SMTP_HOST": "mail.example", "SMTP_PORT": "587"})
    shared = environment.shared(elsewhere)
    assert (shared["SMTP_HOST"], shared["SMTP_PORT"]) == ("mail.example", "587")


@pytest.mark.parametrize("name", ["Robin's Letters", 'Beans, "broad"', "حديقة"])
def test_mails_come_from_the_site_that_the_setup_named(layout: Layout, name: str) -> None:
    named = Layout(layout.home, {**layout.given, "SITE_NAME": name})
    sender = Sender.parse(environment.of(named, "people")["MAIL_FROM"])
    assert (sender.site, sender.address) == (name, "notifications@localhost")
    given = Layout(layout.home, {**named.given, "MAIL_FROM": "Peas <peas@example.com>"})
    assert environment.of(given, "notify")["MAIL_FROM"] == "Peas <peas@example.com>"
    assert "MAIL_FROM" not in environment.of(layout, "people"), "the services' own default"


def test_each_service_gets_its_own_direct_address_only(layout: Layout) -> None:
    direct = {"POSTS_DATABASE_DIRECT_URL": "postgresql://direct.example/posts", "PEOPLE_DATABASE_DIRECT_URL": "x"}
    given = Layout(layout.home, {**layout.given, **direct})
    assert environment.of(given, "posts")["POSTS_DATABASE_DIRECT_URL"] == direct["POSTS_DATABASE_DIRECT_URL"]
    assert environment.of(given, "people")["PEOPLE_DATABASE_DIRECT_URL"].endswith("@127.0.0.1:54320/people")
    assert not {name for name in environment.of(given, "gateway") if "DATABASE" in name}


def test_what_is_accepted_besides_goes_to_its_owner_alone(layout: Layout) -> None:
    assert not {*environment.OTHER_SECRETS.values()} & environment.of(layout, "people").keys()  # before a rotation
    with (layout.home / "keys.env").open("a") as file:
        file.write("PEOPLE_OTHER_SIGNING_KEY='next'\nNOTIFY_OTHER_SECRETS='[]'\nGATEWAY_OTHER_SIGNING_KEY='next'\n")
    for service in (*SERVICES, "operator"):
        found = {name for name in environment.of(layout, service) if "_OTHER_" in name}
        assert found == {name for owner, name in environment.OTHER_SECRETS.items() if owner == service}


def test_a_file_of_keys_that_lacks_one_is_never_replaced(tmp_path: Path) -> None:
    whole = {name: value for name, value in MADE.items() if name != "NOTIFY_SECRET"}
    text = "".join(f"{name}='{value}'\n" for name, value in whole.items())
    for damaged, says in ((text, "NOTIFY_SECRET is missing"), (text + "A='b\n", "cannot be read")):
        (tmp_path / "keys.env").write_text(damaged)
        with pytest.raises(LocalError, match=says):
            environment.keys(Layout(tmp_path, {}))
        assert (tmp_path / "keys.env").read_text() == damaged
    (tmp_path / "keys.env").write_text(text)
    assert "NOTIFY_SECRET" not in environment.keys(Layout(tmp_path, {"NOTIFY_SECRET": "given" * 8}))


def test_a_secret_may_hold_a_number_sign(tmp_path: Path) -> None:
    lines = "".join(f"{name}='{value}'\n" for name, value in MADE.items() if name != "NOTIFY_SECRET")
    (tmp_path / "keys.env").write_text(f"# of Monday\n{lines}NOTIFY_SECRET=abc#def  # the one of Monday\n")
    assert environment.keys(Layout(tmp_path, {}))["NOTIFY_SECRET"] == "abc#def"
