"""The fences around rooms hold on the tree as it is, and fail when a forbidden import, word or file is planted."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
LINT = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]

# Words of the product: a chassis that knows one of them cannot carry another product.
PRODUCT_WORDS = (
    *("post-unknown", "edit-window", "discussion", "moderator", "comment_id", "post_id", "posts_url", "people_url"),
    *("comments_url", "notify_url", "notify_secret", "issuers", "unsubscribe", "wordpress"),
)


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LINT, "--no-cache"], cwd=folder, capture_output=True, text=True, timeout=60, env={"PYTHONPATH": str(folder)}
    )


def product_words(folder: Path) -> list[str]:
    """Return where a word of the product stands in the chassis below `folder`."""
    found = []
    for path in sorted((folder / "services/chassis").rglob("*")):
        if path.suffix in (".py", ".sql"):
            text = path.read_text().lower()
            found += [f"{path.relative_to(folder)}: {word}" for word in PRODUCT_WORDS if word in text]
    return found


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "services", tmp_path / "services", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def plant(folder: Path, file: str, line: str) -> None:
    """Add a line to a file of the copy, which is made if need be."""
    place = folder / file
    place.write_text((place.read_text() if place.exists() else "") + f"\n{line}\n")


def test_the_tree_keeps_its_fences(copy: Path) -> None:
    result = lint(copy)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


@pytest.mark.parametrize(
    ("file", "planted"),
    [
        pytest.param("services/posts/queries.py", "import services.comments.store", id="service to service"),
        pytest.param("services/chassis/http/app.py", "import services.people.domain", id="chassis to service"),
        pytest.param("services/contracts/event.py", "import asyncpg", id="contracts to a driver"),
        pytest.param("services/comments/store/reading.py", "import services.comments.commands", id="store to commands"),
        pytest.param("services/notify/domain.py", "import aiosmtplib", id="domain to a driver"),
        pytest.param("services/chassis/runtime/context.py", "import services.chassis.messaging.outbox", id="room up"),
        pytest.param("services/chassis/database/pool.py", "import services.chassis.http.routes", id="room up twice"),
        pytest.param("services/chassis/client/client.py", "import services.chassis.http.routes", id="room beside"),
        pytest.param(
            "services/gateway/composition/compose.py", "import services.gateway.caching.etags", id="gateway up"
        ),
        pytest.param("services/gateway/access/client_ip.py", "import services.gateway.guards", id="gateway far up"),
        pytest.param("services/posts/utils.py", "", id="file without a place in a service"),
        pytest.param("services/chassis/things.py", "", id="file without a room in the chassis"),
        pytest.param("services/gateway/things.py", "", id="file without a room in the gateway"),
    ],
)
def test_a_planted_violation_is_caught(copy: Path, file: str, planted: str) -> None:
    plant(copy, file, planted)
    result = lint(copy)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "BROKEN" in result.stdout or "broken" in result.stdout


def test_the_chassis_knows_no_word_of_the_product(copy: Path) -> None:
    assert product_words(copy) == []


@pytest.mark.parametrize("word", PRODUCT_WORDS)
def test_a_planted_word_of_the_product_is_caught(copy: Path, word: str) -> None:
    plant(copy, "services/chassis/runtime/settings.py", f"# {word.upper()}")
    assert product_words(copy) == [f"services/chassis/runtime/settings.py: {word}"]
