"""What `make` prints for people."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_every_line_of_the_list_fits_a_terminal() -> None:
    lines = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) > 20
    assert [line for line in lines if len(line) > 80] == []


def test_who_stops_everything_is_told_how_to_go_on() -> None:
    recipe = ["make", "--dry-run", "--old-file", ".venv/.local-stamp", "down"]
    last = subprocess.run(recipe, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    assert subprocess.run(["sh", "-c", last], capture_output=True, text=True, check=True).stdout == (
        "The data is kept: `make up` starts everything again.\n"
    )
