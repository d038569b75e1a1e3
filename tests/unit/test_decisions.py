"""`docs/adr/README.md` lists every decision with its title and state, and every number that has none."""

import re
from pathlib import Path

FOLDER = Path(__file__).parent.parent.parent / "docs" / "adr"
ROW = re.compile(r"^\| (\d+) \| (?:\[(.+)\]\((.+)\)|none) \| (.+) \|$", re.MULTILINE)
TITLE = re.compile(r"# (\d+)\. (.+)\n")
STATE = re.compile(r"^(?:\*\*)?(Decided|Accepted|Replaced)\b", re.MULTILINE)


def test_the_index_lists_every_decision() -> None:
    listed = {int(number): (file, title) for number, title, file, _ in ROW.findall(index()) if file}
    written = {}
    for path in FOLDER.glob("[0-9]*.md"):
        found = TITLE.match(path.read_text())
        assert found, path.name
        assert int(path.name[:4]) == int(found[1]), path.name
        written[int(found[1])] = (path.name, found[2])
    assert listed == written


def test_the_index_says_the_state_that_the_decision_says() -> None:
    for _, _, file, state in ROW.findall(index()):
        if file:
            found = STATE.search((FOLDER / file).read_text())
            assert found, file
            assert state.startswith("replaced by") == (found[1] == "Replaced"), file


def test_the_numbers_run_through_and_those_without_a_decision_are_named() -> None:
    rows = ROW.findall(index())
    assert [int(number) for number, *_ in rows] == list(range(1, len(rows) + 1))
    unused = [int(number) for number, _, file, _ in rows if not file]
    assert unused == [20, 28, 34, 35]


def index() -> str:
    return (FOLDER / "README.md").read_text()
