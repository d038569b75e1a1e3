"""`make logs` and `make up` for people on a terminal of 80 columns."""

import json

from deploy.local.logs import indented, readable, shown

ENTRY = {
    "time": "2026-11-23T10:00:00.123Z",
    "level": "warning",
    "service": "posts",
    "logger": "services.chassis",
    "message": "consumer restarts",
    "group": "comments",
    "error": "KafkaConnectionError('no broker')",
    "count": 3,
}


def test_json_becomes_time_process_level_message_and_fields() -> None:
    line = readable("posts", json.dumps(ENTRY))
    name, clock, rest = line.split(maxsplit=2)
    assert name == "posts"
    assert len(clock) == 8
    assert clock.endswith(":00:00")
    assert rest == "WARNING consumer restarts group=comments error=\"KafkaConnectionError('no broker')\" count=3"


def test_an_exception_is_its_last_line_and_place() -> None:
    frames = [{"filename": "a.py", "lineno": 1}, {"filename": "b.py", "lineno": 7}]
    entry = ENTRY | {"exception": [{"exc_type": "ValueError", "exc_value": "wrong", "frames": frames}]}
    assert readable("posts", json.dumps(entry)).endswith("count=3 (ValueError: wrong, b.py:7)")


def test_other_lines_stay_under_the_name_of_their_process() -> None:
    lines = ["==> /home/x/log/kafka.log <==\n", "started\n", "\n", "==> /home/x/log/posts.log <==\n", json.dumps(ENTRY)]
    kafka, posts = list(shown(lines))
    assert kafka.split() == ["kafka", "started"]
    assert posts.startswith("posts ")


def test_lines_are_wrapped_to_80_columns() -> None:
    long = ENTRY | {"message": "word " * 60}
    (text,) = shown([json.dumps(long)])
    assert max(map(len, text.splitlines())) <= 80
    assert max(map(len, indented("12:00:00 " + "word " * 60, 80).splitlines())) <= 80
    path = "/" + "x" * 100
    assert path in indented(f"12:00:00 see {path}", 80)  # copied with one click


def test_odd_lines_are_shown_as_they_are() -> None:
    for line in ("{broken", "[1]", '"text"', "{}", '{"time": "x"}'):
        assert readable("", line) == line
