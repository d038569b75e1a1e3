"""Output of the `rapport` command without any service."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from dotenv import dotenv_values
from typer.testing import CliRunner

from services.chassis.identity import Signer, Verifier
from services.operator.__main__ import app
from services.operator.failures import Failed
from services.operator.moments import counted, parse_since
from services.operator.settings import load

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_keys_are_lines_for_an_environment_file_and_match_each_other(tmp_path: Path) -> None:
    printed = CliRunner().invoke(app, ["keys"])
    assert printed.exit_code == 0
    file = tmp_path / "keys.env"
    file.write_text(printed.output)
    keys = {name: value or "" for name, value in dotenv_values(file).items()}
    shell = f'. {file} && printf %s "$VERIFICATION_KEYS"'
    assert subprocess.run(["sh", "-c", shell], capture_output=True, text=True).stdout == keys["VERIFICATION_KEYS"]
    for issuer in ("gateway", "notify", "operator", "people"):
        token = Signer(keys[f"{issuer.upper()}_SIGNING_KEY"], issuer).token("posts")
        assert Verifier(keys["VERIFICATION_KEYS"], "posts").verify(token).issuer == issuer
    assert len(keys["NOTIFY_SECRET"]) >= 32
    assert CliRunner().invoke(app, ["keys"]).output != printed.output


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h", "2026-11-23T10:00:00+00:00"),
        ("3d", "2026-11-20T12:00:00+00:00"),
        ("90s", "2026-11-23T11:58:30+00:00"),
        ("2026-11-23T04:35:00Z", "2026-11-23T04:35:00+00:00"),
        ("2026-11-23 04:35", "2026-11-23T04:35:00+00:00"),
        ("2026-11-23T04:35:00+02:00", "2026-11-23T02:35:00+00:00"),
        ("2026-11-22", "2026-11-22T00:00:00+00:00"),
    ],
)
def test_since_is_a_span_or_a_time(text: str, moment: str) -> None:
    assert parse_since(text, NOW).isoformat() == moment


@pytest.mark.parametrize(
    "text", ["", "h", "0h", "0", "999999d", "2w", "yesterday", "2026-13-01", "2999-01-01", "0001-01-01T00:00+10:00"]
)
def test_other_texts_are_not_a_time(text: str) -> None:
    with pytest.raises(Failed, match="--since"):
        parse_since(text, NOW)


def test_the_key_may_come_from_the_files_of_a_local_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAPPORT_HOME", str(tmp_path))
    monkeypatch.delenv("OPERATOR_SIGNING_KEY", raising=False)
    monkeypatch.setenv("POSTS_URL", "http://given:1")
    with pytest.raises(Failed, match="OPERATOR_SIGNING_KEY is not set"):
        load()
    (tmp_path / "keys.env").write_text("OPERATOR_SIGNING_KEY='{\"kid\": \"operator-1\"}'\nNOTIFY_SECRET='x'\n")
    (tmp_path / "operator.env").write_text("POSTS_URL='http://file:2'\nPEOPLE_URL='http://file:3'\n")
    settings = load()
    assert settings.operator_signing_key == '{"kid": "operator-1"}'
    assert (settings.posts_url, settings.people_url) == ("http://given:1", "http://file:3")
    assert "operator-1" not in repr(settings)


def test_no_time_ago_is_said_to_be_none() -> None:
    with pytest.raises(Failed, match="'0h' is no time ago"):
        parse_since("0h", NOW)


def test_numbers_agree_with_their_nouns() -> None:
    assert [counted(number, "event") for number in (0, 1, 2, 12345)] == [
        "0 events",
        "1 event",
        "2 events",
        "12,345 events",
    ]


@pytest.mark.parametrize(
    ("variable", "value"),
    [("POSTS_URL", "posts:8101"), ("PATIENCE_SECONDS", "soon"), ("KAFKA_BOOTSTRAP_SERVERS", "kafka://b:9092")],
)
def test_a_setting_that_cannot_work_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv("RAPPORT_HOME", str(tmp_path))
    monkeypatch.setenv("OPERATOR_SIGNING_KEY", "{}")
    monkeypatch.setenv(variable, value)
    with pytest.raises(Failed, match=f"{variable}={value} cannot be used"):
        load()


@pytest.mark.parametrize(
    "arguments",
    [
        ["republish", "gateway", "--since", "1h"],
        ["dead-letter", "list", "people"],
        ["person", "grant", "a@b.example", "king"],
    ],
)
def test_a_failure_is_reported_in_one_sentence(arguments: list[str]) -> None:
    environment = {"OPERATOR_SIGNING_KEY": "{}", "PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-m", "services.operator", *arguments]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("rapport: There is no ")
    assert ended.stderr.count("\n") == 1


INTERRUPTED = """
import os, signal, sys

class Interrupts:
    def find_spec(self, name, *_):
        if name == "services.operator.__main__" and sys.argv[1] == "early":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
from services.operator import start
if sys.argv[1] == "late":
    import services.operator.__main__ as command
    command.app = lambda: print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
start.main()
"""


@pytest.mark.parametrize(("when", "status", "said"), [("early", -signal.SIGINT, ""), ("late", 0, "True\n")])
def test_an_interruption_while_the_command_is_read_in_shows_no_traceback(when: str, status: int, said: str) -> None:
    environment = {"PYTHONPATH": ":".join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", INTERRUPTED, when], env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, said, "")


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield every command that can be typed, with its name."""
    inner = getattr(command, "commands", {})
    for name, one in inner.items():
        yield from commands(one, (*path, name))
    if not inner or command.invoke_without_command:
        yield " ".join(path), command


EVERY = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("name", EVERY)
def test_every_command_shows_an_example(name: str) -> None:
    shown = CliRunner().invoke(app, [*name.split(), "--help"])
    assert shown.exit_code == 0
    assert f"rapport {name.split()[0]}" in " ".join(shown.output[shown.output.index("Example:") :].split())
