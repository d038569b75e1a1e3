"""The fences around rooms: they hold on the tree as it is, and fail when a forbidden import or file is planted."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
LINT = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LINT, "--no-cache"], cwd=folder, capture_output=True, text=True, timeout=60, env={"PYTHONPATH": str(folder)}
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "services", tmp_path / "services", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_tree_keeps_its_fences(copy: Path) -> None:
    result = lint(copy)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


@pytest.mark.parametrize(
    ("file", "planted"),
    [
        ("services/posts/queries.py", "import services.comments.store"),
        ("services/chassis/http/app.py", "import services.people.domain"),
        ("services/contracts/event.py", "import asyncpg"),
        ("services/comments/store.py", "import services.comments.commands"),
        ("services/notify/domain.py", "import aiosmtplib"),
        ("services/posts/utils.py", ""),
    ],
)
def test_a_planted_import_is_caught(copy: Path, file: str, planted: str) -> None:
    place = copy / file
    place.write_text((place.read_text() if place.exists() else "") + f"\n{planted}\n")
    result = lint(copy)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "BROKEN" in result.stdout or "broken" in result.stdout
