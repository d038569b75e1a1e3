"""What a stack keeps is readable by its user only, also where an earlier version left it open."""

from pathlib import Path

import pytest

from deploy.local import private


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_file_is_private_from_its_first_byte_on(tmp_path: Path) -> None:
    file = tmp_path / "new" / "secret"
    private.write(file, "first")
    assert (mode(file), mode(file.parent), file.read_text()) == (0o600, 0o700, "first")
    file.chmod(0o644)
    (tmp_path / "new" / "secret.new").write_text("left behind by a kill, and open")
    private.write(file, b"second")
    assert (mode(file), file.read_bytes()) == (0o600, b"second")


def older_home(home: Path) -> None:
    """Make a home as an earlier version did."""
    for folder in private.FOLDERS:
        (home / folder).mkdir(parents=True)
    for file in (*private.FILES, "log/kafka.log", "mail/1.eml", "run/kafka.json"):
        (home / file).write_text("")
        (home / file).chmod(0o644)
    for path in (home, *(home / name for name in private.FOLDERS)):
        path.chmod(0o755)


def test_an_older_home_is_closed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    older_home(home)
    private.close_home(home)
    assert [path for path in (home, *home.rglob("*")) if mode(path) & 0o077] == []


@pytest.mark.parametrize("other", ["notes.txt", ".ssh"])
def test_a_folder_with_other_things_in_it_stays_open(tmp_path: Path, other: str) -> None:
    home = tmp_path / "home"
    older_home(home)
    (home / other).touch(0o644)
    private.close_home(home)
    assert [path.name for path in (home, *home.rglob("*")) if mode(path) & 0o077] == ["home", other]


def test_a_new_home_is_closed(tmp_path: Path) -> None:
    private.close_home(tmp_path / "far" / "home")
    assert mode(tmp_path / "far" / "home") == 0o700
