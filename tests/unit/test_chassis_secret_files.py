"""Secrets from files: `NAME_FILE=/path`, for every setting that is never shown; what cannot work is one sentence."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from deploy.local.layout import SECRETS, Layout
from deploy.local.processes import LocalError
from services.chassis.mail.smtp import SmtpSettings
from services.chassis.runtime.secret_files import secret_fields
from services.chassis.runtime.secret_reading import LARGEST_BYTES
from services.chassis.runtime.settings import Settings, sentences
from services.operator import settings as operator
from services.posts.settings import PostsSettings

URL = "postgresql://posts:hunter2@db/posts"
KINDS: list[type[BaseSettings]] = [
    SmtpSettings,
    *(
        getattr(import_module(f"services.{service}.settings"), f"{service.capitalize()}Settings")
        for service in ("posts", "comments", "people", "notify", "gateway", "operator")
    ),
]
EVERY_SECRET = [(kind, field) for kind in KINDS for field in secret_fields(kind)]


@pytest.fixture(autouse=True)
def nothing_else_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in SECRETS:
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(f"{variable}_FILE", raising=False)


def refused(kind: type[BaseSettings], field: str) -> str:
    with pytest.raises(ValidationError) as error:
        kind()
    [sentence] = [one for one in sentences(kind, error.value) if one.startswith(field.upper())]
    return sentence


@pytest.mark.parametrize(("kind", "field"), EVERY_SECRET)
def test_every_secret_may_come_from_a_file(
    kind: type[BaseSettings], field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{field.upper()}_FILE", str(tmp_path / "missing"))
    assert "cannot be read: No such file or directory" in refused(kind, field)


def test_the_secrets_are_those_that_the_operations_guide_promises() -> None:
    found = {field.upper() for kind in KINDS for field in secret_fields(kind)}
    assert found == SECRETS
    assert {
        name for name in found if name.endswith(("_KEY", "_SECRET", "_SECRETS", "_PASSWORD", "_URL", "_KEYS"))
    } == found


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_line_break_at_the_end_is_none_of_it(end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "url"
    file.write_bytes((URL + end).encode())
    monkeypatch.setenv("POSTS_DATABASE_URL_FILE", str(file))
    assert PostsSettings().posts_database_url == URL


def test_spaces_belong_to_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "password").write_text(" hunter2 \n")
    monkeypatch.setenv("SMTP_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.setenv("SMTP_PASSWORD", "")  # as compose passes on what is not set
    assert SmtpSettings().smtp_password == " hunter2 "


def test_what_is_given_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "url").write_text(URL)
    monkeypatch.setenv("POSTS_DATABASE_URL_FILE", str(tmp_path / "url"))
    monkeypatch.setenv("POSTS_DATABASE_URL", URL)
    found = refused(PostsSettings, "posts_database_url")
    assert found == (
        "POSTS_DATABASE_URL cannot be used: it is set, and so is POSTS_DATABASE_URL_FILE: set one of the two."
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty."),
        (b"\n", "is empty."),
        (b" \r\n", "is empty."),
        (b"x" * (LARGEST_BYTES + 1), "has more than 64 KiB."),
        (b"hunter2\xff", "is not text in UTF-8."),
        (b"hunter2\0", "is not text in UTF-8."),
    ],
)
def test_a_file_that_holds_no_secret_is_named_by_its_variable(
    content: bytes, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_bytes(content)
    monkeypatch.setenv("KAFKA_PASSWORD_FILE", str(tmp_path / "secret"))
    found = refused(Settings, "kafka_password")
    assert found == f"KAFKA_PASSWORD cannot be used: it is read from the file in KAFKA_PASSWORD_FILE, which {reason}"


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "secret"])
def test_what_is_no_file_is_refused_at_once(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    given = {"folder": str(tmp_path), "pipe": str(tmp_path / "pipe"), "device": "/dev/zero", "secret": URL}[kind]
    monkeypatch.setenv("POSTS_DATABASE_URL_FILE", given)
    found = refused(PostsSettings, "posts_database_url")
    assert "POSTS_DATABASE_URL_FILE" in found
    assert "hunter2" not in found


def test_a_wrong_secret_of_a_file_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "url").write_text("postgresql://posts:hunter2@db:x/posts")
    monkeypatch.setenv("POSTS_DATABASE_URL_FILE", str(tmp_path / "url"))
    found = refused(PostsSettings, "posts_database_url")
    assert found.startswith("POSTS_DATABASE_URL cannot be used: it is not an address")
    assert "hunter2" not in found


def test_a_process_ends_with_one_sentence(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    environment |= {"POSTS_DATABASE_URL_FILE": str(tmp_path)}
    command = [sys.executable, "-m", "services.posts", "migrate"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (2, "", 1)
    assert ended.stderr.startswith("POSTS_DATABASE_URL cannot be used: it is read from the file in")


def test_a_file_of_the_operator_wins_over_the_local_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys.env").write_text("OPERATOR_SIGNING_KEY='of the local stack'\n")
    (tmp_path / "key").write_text("of the file\n")
    monkeypatch.setenv("RAPPORT_HOME", str(tmp_path))
    assert operator.load().operator_signing_key == "of the local stack"
    monkeypatch.setenv("OPERATOR_SIGNING_KEY_FILE", str(tmp_path / "key"))
    assert operator.load().operator_signing_key == "of the file"


def test_make_up_reads_files_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "url").write_text(URL + "\n")
    monkeypatch.setenv("POSTS_DATABASE_URL_FILE", str(tmp_path / "url"))
    layout = Layout.from_environment()
    assert layout.database_given("posts") == URL
    assert "POSTS_DATABASE_URL_FILE" not in layout.given  # or the service would find both
    monkeypatch.setenv("POSTS_DATABASE_URL", URL)
    with pytest.raises(LocalError, match="POSTS_DATABASE_URL and POSTS_DATABASE_URL_FILE are both set"):
        Layout.from_environment()
    monkeypatch.delenv("POSTS_DATABASE_URL")
    monkeypatch.setenv("POSTS_DATABASE_URL_FILE", str(tmp_path))
    with pytest.raises(LocalError, match="POSTS_DATABASE_URL cannot be used: it is read from the file in"):
        Layout.from_environment()
