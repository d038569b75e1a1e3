"""Which commit is measured, and what is said when there is none."""

from pathlib import Path

import pytest

from tests.benchmarks import checkout
from tests.benchmarks.checkout import CheckoutError, build, build_present, resolve


def test_a_commit_is_found_by_a_name() -> None:
    assert resolve("HEAD") == resolve(resolve("HEAD"))


@pytest.mark.parametrize("ref", ["no-such-branch", "0" * 40, "--all", "HEAD^{tree}"])
def test_a_wrong_ref_ends_with_one_sentence(ref: str) -> None:
    with pytest.raises(CheckoutError) as refusal:
        build(ref, print)
    assert str(refusal.value) == f"BASE={ref} names no commit of this repository: give a branch, a tag or a commit id."


def test_a_build_that_fails_ends_with_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout, "INSTALL", ("sh", "-c", "echo no network; exit 3"))
    monkeypatch.setattr(checkout, "_unpack", lambda _, root: root.mkdir())
    monkeypatch.setattr(checkout, "ROOT", tmp_path)
    monkeypatch.setattr(checkout, "FOLDER", tmp_path / "bench")
    monkeypatch.setattr(checkout, "resolve", lambda _: "1234567890")
    (tmp_path / "bench").mkdir()
    with pytest.raises(CheckoutError) as failure:
        build("old", lambda _: None)
    log = tmp_path / "bench/1234567890/.venv.log"
    assert str(failure.value) == f"base 1234567 could not be built: sh ended with 3; its output is in {log}."
    assert log.read_text() == "no network\n"
    assert not (tmp_path / "bench/1234567890" / checkout.FINISHED).exists()


def test_what_is_here_gets_an_environment_like_that_of_the_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = 'mkdir -p "$UV_PROJECT_ENVIRONMENT/bin"; ln -s "$PYTHON" "$UV_PROJECT_ENVIRONMENT/bin/python"'
    monkeypatch.setattr(checkout, "INSTALL", ("sh", "-c", made))
    monkeypatch.setattr(checkout, "ROOT", tmp_path)
    monkeypatch.setattr(checkout, "FOLDER", tmp_path / "bench")
    (tmp_path / "services").mkdir()
    (tmp_path / "services/posts.py").write_text("")
    found = build_present(lambda _: None)
    assert (found.root, found.python) == (tmp_path, tmp_path / "bench/environment/bin/python")
    assert list((tmp_path / "services/__pycache__").iterdir()), "what is compiled at the start takes memory"


def test_a_commit_that_is_built_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout, "ROOT", tmp_path)
    monkeypatch.setattr(checkout, "FOLDER", tmp_path)
    monkeypatch.setattr(checkout, "resolve", lambda _: "1234567890")
    finished = tmp_path / "1234567890" / checkout.FINISHED
    finished.parent.mkdir(parents=True)
    finished.touch()
    said: list[str] = []
    found = build("old", said.append)
    assert (found.name, found.python) == ("1234567", tmp_path / "1234567890/.venv/bin/python")
    assert said == ["base 1234567 is built already, in 1234567890"]
