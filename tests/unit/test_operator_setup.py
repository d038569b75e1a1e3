"""`rapport setup`: what it asks, what it writes and where, and what it refuses."""

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values
from pydantic import ValidationError
from typer.testing import CliRunner, Result

from deploy.local.layout import Layout, settings_in
from deploy.local.processes import LocalError
from services.gateway.site import SiteSettings
from services.operator import site_settings
from services.operator.__main__ import app
from services.operator.commands import setup as command
from services.operator.failures import Failed

ROBIN = ["--author", "Robin", "--email", "robin@example.com"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a stack that does not exist yet, and services that are not there."""
    monkeypatch.setenv("RAPPORT_HOME", str(tmp_path / "stack"))
    monkeypatch.setenv("PUBLIC_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("PEOPLE_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("OPERATOR_SIGNING_KEY", raising=False)
    return tmp_path / "stack"


def run(*arguments: str, typed: str = "") -> Result:
    return CliRunner().invoke(app, ["setup", *arguments], input=typed, env={"COLUMNS": "200"})


def told(*arguments: str, status: int = 0) -> dict[str, Any]:
    ended = run(*arguments, "--json")
    assert ended.exit_code == status, (ended.output, ended.exception)
    found: dict[str, Any] = json.loads(ended.output)
    return found


def refusal(*arguments: str) -> str:
    ended = run(*arguments)
    assert isinstance(ended.exception, Failed), ended.output
    return str(ended.exception)


def written(home: Path) -> dict[str, str]:
    return settings_in(home)


def test_it_writes_what_make_up_reads(home: Path) -> None:
    done = told("--name", "Beans", "--tagline", "Of gardens", *ROBIN)
    wanted = {"SITE_NAME": "Beans", "SITE_TAGLINE": "Of gardens", "ADMIN_EMAILS": "robin@example.com"}
    assert written(home) == wanted == done["changed"]
    assert (done["author"], done["administrator"]) == ("away", True)
    assert done["next"] == [
        "make up",
        "register as robin@example.com at http://127.0.0.1:9/sign-in (below “New here?”)",
        "write at http://127.0.0.1:9/write",
    ]
    assert (home / "settings.env").stat().st_mode & 0o077 == 0
    given = Layout.from_environment().given
    assert {name: given[name] for name in wanted} == wanted


def test_a_repetition_changes_nothing(home: Path) -> None:
    told("--name", "Beans", *ROBIN)
    before = (home / "settings.env").read_text()
    again = told("--name", " Beans ", *ROBIN)
    assert (again["changed"], (home / "settings.env").read_text()) == ({}, before)
    assert told("--tagline", "Of gardens")["changed"] == {"SITE_TAGLINE": "Of gardens"}
    assert told("--tagline", "")["changed"] == {"SITE_TAGLINE": ""}
    assert written(home)["SITE_NAME"] == "Beans"


def test_another_author_is_no_administrator_and_has_no_role_yet(home: Path) -> None:
    told("--name", "Beans", *ROBIN)
    done = told("--author", "Eve", "--email", "eve@example.com", status=1)
    assert (done["changed"], done["author"], done["administrator"]) == ({}, "away", False)
    shown = run("--email", "eve@example.com")
    assert shown.exit_code == 1
    assert "rapport person grant eve@example.com author" in shown.output


def test_a_dry_run_makes_nothing(home: Path) -> None:
    done = told("--name", "Beans", *ROBIN, "--dry-run")
    assert done["would_change"] == {"SITE_NAME": "Beans", "ADMIN_EMAILS": "robin@example.com"}
    assert not home.exists()


def test_the_environment_goes_before_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told("--name", "Beans")
    monkeypatch.setenv("SITE_NAME", "Peas")
    assert Layout.from_environment().given["SITE_NAME"] == "Peas"


def test_other_lines_of_the_file_stay(home: Path) -> None:
    home.mkdir()
    (home / "settings.env").write_text("# mine\nGATEWAY_PORT=9999\nSITE_NAME=Old\nPATH=/nowhere\n")
    told("--name", "New")
    assert (home / "settings.env").read_text() == "# mine\nGATEWAY_PORT=9999\nSITE_NAME='New'\nPATH=/nowhere\n"
    assert Layout.from_environment().port("GATEWAY_PORT") == 9999
    assert Layout.from_environment().given["PATH"] == os.environ["PATH"]


def test_a_damaged_file_is_named(home: Path) -> None:
    home.mkdir()
    (home / "settings.env").write_text("SITE_NAME='Beans\n")
    with pytest.raises(LocalError, match=r"settings\.env cannot be read"):
        Layout.from_environment()


NAMES = [
    "Robin's beans",
    'The "best" beans',
    "50 % of $HOME",
    "Bohnen & Erbsen #1",
    "الفاصوليا",
    "a`b",
    "c\\d",
    "می\u200cخواهم",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_shell_compose_and_make_up_read_a_name_alike(home: Path, tmp_path: Path, name: str) -> None:
    file = tmp_path / ".env"
    file.write_text("# of compose\nPUBLIC_URL=https://blog.example\n")
    done = told("--name", name, "--file", str(file))
    assert done["next"][0] == "docker compose up -d --wait"
    assert not home.exists()
    shell = subprocess.run(
        ["sh", "-c", f'. {shlex.quote(str(file))} && printf %s "$SITE_NAME"'], capture_output=True, text=True
    )
    assert shell.stdout == name
    assert dotenv_values(file, interpolate=True)["SITE_NAME"] == name
    told("--name", name)
    assert written(home) == {"SITE_NAME": name}
    assert told("--name", name)["changed"] == {}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--name", "\u200b"], "--name has nothing that can be seen."),
        (["--name", "x" * 101], "--name has 101 characters, and may have 100."),
        (["--name", "a\nb"], "--name has a line break or a control character."),
        (["--name", "a\x1b[31m"], "--name has a line break or a control character."),
        (["--name", 'Robin\'s "beans"'], "SITE_NAME has an apostrophe"),
        (["--tagline", "x" * 201], "--tagline has 201 characters, and may have 200."),
        (["--email", "robin"], "--email must be an e-mail address."),
        (["--email", "robin@example.com, eve@example.com"], "--email must be an e-mail address."),
        (["--author", " \u2800 "], "--author must have a visible character"),
        (["--name", "Beans", "--file", "/nowhere/.env"], "There is no file /nowhere/.env"),
    ],
)
def test_nonsense_is_refused_with_a_sentence(home: Path, arguments: list[str], sentence: str) -> None:
    assert refusal(
        *arguments, *(ROBIN if "--email" not in arguments and "--author" not in arguments else [])
    ).startswith(sentence)
    assert written(home) == {}


def test_what_it_takes_the_gateway_takes() -> None:
    SiteSettings(site_name="x" * site_settings.LONGEST_NAME, site_tagline="x" * site_settings.LONGEST_TAGLINE)
    for field, longest in (("site_name", site_settings.LONGEST_NAME), ("site_tagline", site_settings.LONGEST_TAGLINE)):
        with pytest.raises(ValidationError):
            SiteSettings(**{field: "x" * (longest + 1)})


def test_without_anything_to_do_it_says_what_it_takes(home: Path) -> None:
    assert run().exit_code == 2
    assert not home.exists()


def test_it_asks_for_what_is_not_given_until_it_makes_sense(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_may_ask", lambda: True)
    told("--name", "Old")
    ended = run("--author", "Robin", typed="Beans\n\nnot an address\nrobin@example.com\n")
    assert ended.exit_code == 0, ended.output
    assert "it must be an e-mail address" in ended.output
    assert written(home) == {"SITE_NAME": "Beans", "ADMIN_EMAILS": "robin@example.com"}
    again = run("--author", "Robin", typed="\n\n\n")
    assert again.exit_code == 0, again.output
    assert "says so already" in again.output


@pytest.mark.parametrize(
    ("state", "status", "sentence"),
    [
        ("granted", 0, "eve@example.com is now an author."),
        ("has", 0, "eve@example.com is an author already."),
        ("mailed", 1, "A mail with a sign-in link is on its way to eve@example.com."),
        ("unknown", 1, "Nobody has confirmed eve@example.com; with --author NAME a mail goes there."),
    ],
)
def test_it_says_what_became_of_the_author(
    home: Path, monkeypatch: pytest.MonkeyPatch, state: str, status: int, sentence: str
) -> None:
    told("--name", "Beans", *ROBIN)

    async def introduced(*_: object, **__: object) -> str:
        return state

    async def served(_: str) -> dict[str, str]:
        return {"name": "Rapport", "tagline": ""}

    monkeypatch.setattr(command, "introduce", introduced)
    monkeypatch.setattr(command, "served_site", served)
    ended = run("--email", "eve@example.com")
    assert ended.exit_code == status
    assert sentence in ended.output
    assert "make down, then make up" in ended.output  # the site that runs has another name
