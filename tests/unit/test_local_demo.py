"""The demo with a WordPress export says once what is wrong with it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.local import demo
from deploy.local.layout import Layout

ROOT = Path(__file__).parent.parent.parent


def test_a_failed_import_has_said_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAPPORT_HOME", str(tmp_path))
    monkeypatch.setattr(demo, "http_status", lambda *_: 200)
    monkeypatch.setattr(demo, "Layout", _Everywhere)
    monkeypatch.setattr(sys, "argv", ["demo", "--wordpress", "my export.xml"])
    asked: list[Any] = []

    def failed(command: list[str]) -> subprocess.CompletedProcess[str]:
        asked.append(command[-1])
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(subprocess, "run", failed)
    assert demo.main() == 1
    assert asked == ["my export.xml"]
    assert capfd.readouterr() == ("0. Import my export.xml\n", "")


class _Everywhere(Layout):
    @classmethod
    def from_environment(cls) -> Layout:
        return cls.__new__(cls)

    def port(self, name: str) -> int:
        return 1


def test_a_file_that_cannot_be_read_starts_nothing() -> None:
    recipe = subprocess.run(
        ["make", "--dry-run", "--always-make", "demo", "WORDPRESS=no file"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    check = next(line for line in recipe.splitlines() if "cannot be read" in line)
    assert recipe.index(check) < recipe.index("make up")
    ended = subprocess.run(["sh", "-c", check], env={"WORDPRESS": "no file"}, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "no file cannot be read.\n")
    assert subprocess.run(["sh", "-c", check], env={"WORDPRESS": ""}).returncode == 0


def test_what_it_prints_fits_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    long = "A sentence of several words that goes on and on. " * 5
    address = f"http://127.0.0.1:8000/{'x' * 90}"
    demo.report(f"Ada, about Ben's comment: sent. {long}")
    headers = [
        ["Subject", long],
        ["References", f"<{'a' * 60}@x> <{'b' * 60}@x>"],
        ["List-Unsubscribe", f"<{address}>"],
    ]
    demo.show(Layout(tmp_path, {}), {"id": "1", "headers": headers, "text": f"{long}\n\n{address}\nEnd"})
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 72] == [f"  | {address}"]
    assert not [line for line in lines if "References" in line or "List-Unsubscribe" in line]
    first = next(number for number, line in enumerate(lines) if line.startswith("  |"))
    assert all(line.startswith("  |") for line in lines[first:])
