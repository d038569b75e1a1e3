"""What `make up` checks before it starts anything."""

import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import background, checks, commands, logs
from deploy.local.layout import CHECKOUT, PORTS, Layout
from deploy.local.processes import LocalError, free_port
from services.operator.keys import generate_keys


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "keys.env").write_text("".join(f"{name}='{value}'\n" for name, value in generate_keys().items()))
    return tmp_path


def test_the_defaults_are_accepted(home: Path) -> None:
    checks.check_settings(Layout(home, {}))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PUBLIC_URL", "blog.example"),
        ("PUBLIC_URL", "http://127.0.0.1:8000/talk"),
        ("LOG_LEVEL", "LOUD"),
        ("POSTS_DATABASE_URL", "nonsense"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka://broker"),
        ("REDIS_URL", "cache:6379"),
        ("ADMIN_EMAILS", "root"),
        ("TRUSTED_PROXIES", "the proxy"),
        ("NOTIFY_SIGNING_KEY", "a key"),
        ("DRAIN_SECONDS", "soon"),
        ("SMTP_SECURITY", "ssl"),
    ],
)
def test_one_sentence_names_the_variable(home: Path, variable: str, value: str) -> None:
    with pytest.raises(LocalError) as refusal:
        checks.check_settings(Layout(home, {variable: value}))
    assert str(refusal.value).startswith(variable)
    assert str(refusal.value).count("\n") == 0


def test_all_wrong_settings_are_named_at_once(home: Path) -> None:
    with pytest.raises(LocalError) as refusal:
        checks.check_settings(Layout(home, {"LOG_LEVEL": "LOUD", "PUBLIC_URL": "x"}))
    assert len(str(refusal.value).splitlines()) == 2


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for home in (tmp_path / "file", tmp_path / "file/below", Path("/proc/rapport")):
        with pytest.raises(LocalError, match=r"cannot write to .*RAPPORT_HOME"):
            checks.check_home(Layout(home, {}))


def test_a_given_server_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "PATIENCE_SECONDS", 0.1)
    port = free_port()
    for given, variable in (
        ({"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}"}, "KAFKA_BOOTSTRAP_SERVERS"),
        ({"REDIS_URL": f"redis://127.0.0.1:{port}/0"}, "REDIS_URL"),
        ({"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(port)}, "SMTP_HOST"),
    ):
        with pytest.raises(LocalError, match=rf"127\.0\.0\.1:{port}: check {variable}"):
            checks.check_given_servers(Layout(tmp_path, given))


def test_the_start_message_fits_80_columns() -> None:
    text = commands.start_message(Layout(Path("/home/ada/blog/rapport/.local"), {}))
    assert max(map(len, text.splitlines())) <= 80
    assert "http://127.0.0.1:8000/docs" in text


def test_the_lines_of_a_running_stack_are_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = Layout(tmp_path, {"GATEWAY_PORT": "9999", "PUBLIC_URL": "http://localhost:9999"})
    monkeypatch.setattr(background, "supervisor", lambda _: object())
    monkeypatch.setattr(background, "state", lambda _: {"given": started.kept() | {"ADMIN_EMAILS": "ada@example.com"}})
    caller = Layout(tmp_path, {"PUBLIC_URL": "http://elsewhere", "SMTP_HOST": "mail", "ADMIN_EMAILS": "x@example.com"})
    text = commands.start_message(background.as_running(caller))
    assert "http://localhost:9999/" in text
    assert "mailbox" in text
    assert "ada@example.com" in text
    assert "elsewhere" not in text


def test_status_of_a_stopped_stack_is_no_error_of_make(tmp_path: Path) -> None:
    ended = subprocess.run(
        ["make", "status", f"python={sys.executable}", "-o", ".venv/.local-stamp"],
        cwd=CHECKOUT,
        env={"PATH": "/usr/bin:/bin", "RAPPORT_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Nothing is running" in ended.stdout


def test_a_closed_pipe_is_no_traceback(tmp_path: Path) -> None:
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"(sleep 0.2; {sys.executable} -m deploy.local status) | true"],
        cwd=CHECKOUT,
        env={"PATH": "/usr/bin:/bin", "RAPPORT_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_pooler_before_a_given_database_needs_a_direct_address(home: Path) -> None:
    given = {"DATABASE_POOLER": "transaction", "POSTS_DATABASE_URL": "postgresql://posts@pooler/posts"}
    with pytest.raises(LocalError, match=r"set POSTS_DATABASE_DIRECT_URL") as refusal:
        checks.check_settings(Layout(home, given))
    assert str(refusal.value).count("\n") == 0  # the other databases are this machine's own
    checks.check_settings(Layout(home, given | {"POSTS_DATABASE_DIRECT_URL": "postgresql://posts@db/posts"}))


def test_a_wrong_port_hides_no_other_wrong_setting(home: Path) -> None:
    given = {"GATEWAY_PORT": "http", "POSTS_PORT": "0", "LOG_LEVEL": "LOUD", "SMTP_PORT": "2526", "KAFKA_PORT": "2526"}
    with pytest.raises(LocalError) as refusal:
        checks.check_settings(Layout(home, given))
    named = [line.partition("=")[0].partition(" ")[0] for line in str(refusal.value).splitlines()]
    assert named == ["GATEWAY_PORT", "POSTS_PORT", "KAFKA_PORT", "LOG_LEVEL"]


def test_the_settings_are_checked_before_the_ports_are_tried(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "port_is_taken", lambda _: True)
    with pytest.raises(LocalError, match=r"^LOG_LEVEL"):
        commands.up(Layout(home, {"LOG_LEVEL": "LOUD"}))


@pytest.mark.parametrize("again", [False, True])
def test_only_the_first_start_announces_a_minute(home: Path, again: bool, capsys: pytest.CaptureFixture[str]) -> None:
    if again:
        (home / "log").mkdir()
        (home / "log/supervisor.log").write_text("")
    with pytest.raises(LocalError):
        commands.up(Layout(home, {"LOG_LEVEL": "LOUD"}))
    assert ("about a minute" in capsys.readouterr().out) is not again


@pytest.mark.parametrize("taken", [{8000}, {8000, 8101, 54320}, set(PORTS.values())])
def test_free_ports_for_all_that_are_taken_are_on_one_line_to_paste(
    taken: set[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "port_is_taken", lambda port: port in taken)
    with pytest.raises(LocalError) as refusal:
        checks.check_ports(Layout(tmp_path, {}))
    shown = logs.message(str(refusal.value), 60).splitlines()
    *chosen, make, up = shown[-1].split()
    assert (make, up) == ("make", "up")
    given = dict(one.split("=") for one in chosen)
    assert given.keys() == {name for name, port in PORTS.items() if port in taken}
    assert len(set(given.values())) == len(taken)
    assert "  " not in " ".join(shown[:-1])
    assert max(map(len, shown[:-1])) <= 60
    checks.check_ports(Layout(tmp_path, given))
