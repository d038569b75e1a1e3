"""`docs/performance.md`: every row of the table, and a picture whose bars say what is better."""

import xml.etree.ElementTree as ET
from pathlib import Path

from tests.benchmarks.compare import Failure, Row
from tests.benchmarks.measurement import Measurement, Unit
from tests.benchmarks.report import document, improvement, picture, write

FASTER = Row(
    Measurement("comments | accepted", 200, Unit.RATE, bound="pgbench 1,000/s", goal="≥ 2"), 100, 200, (2.0,), 0.2
)
CHEAPER = Row(Measurement("price", 50, Unit.PRICE), 100, 50, (0.4, 0.6))
PART = Row(Measurement("price: gateway", 20, Unit.PRICE, is_part=True), 40, 20, (0.5,))
NEW = Row(Measurement("new", 1, Unit.LATENCY), None, 1)
SLOWER = Row(Measurement("a < b", 2, Unit.LATENCY), 1, 2, (2.0,))
ROWS = [FASTER, CHEAPER, PART, NEW, SLOWER]


def test_every_row_is_in_the_table() -> None:
    text = document([*ROWS, Failure("long", "It was busy.")], "abc", "base = abc; 1 round")
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert (
        rows[0] == "| **comments \\| accepted** | 100 /s | 200 /s | 2.00 | 2.00–2.00 | ≥ 2; 0.20 of pgbench 1,000/s |"
    )
    assert rows[1].startswith("| **price** | 100 µs | 50.0 µs | 0.50 | 0.40–0.60 |")
    assert rows[2].startswith("|   gateway |")
    assert rows[3].startswith("| **new** | – | 1.0 ms | – | – |")
    assert rows[5] == "| long | | failed | | | It was busy. |"
    assert "make bench BASE=abc ARGS" in text
    assert "Base = abc; 1 round." in text
    assert "processors" in text


def test_better_is_more_of_a_rate_and_less_of_everything_else() -> None:
    assert [improvement(row) for row in (FASTER, CHEAPER, SLOWER)] == [2.0, 2.0, 0.5]


def test_the_picture_has_a_bar_for_each_whole_row_that_the_base_has() -> None:
    root = ET.fromstring(picture(ROWS))  # our own
    space = "{http://www.w3.org/2000/svg}"
    bars = root.findall(f"{space}rect")
    assert [bar.get("class") for bar in bars] == ["better", "better", "worse"]
    widths = [float(bar.get("width", "")) for bar in bars]
    assert widths[0] == widths[1] > 0
    assert [text.text for text in root.findall(f"{space}text")][-4] == "a < b"


def test_both_are_written(tmp_path: Path) -> None:
    write(tmp_path, ROWS, "abc", "base = abc")
    assert "(performance.svg)" in (tmp_path / "performance.md").read_text()
    assert (tmp_path / "performance.svg").read_text().startswith("<svg")
