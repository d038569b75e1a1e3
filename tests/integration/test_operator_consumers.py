"""`rapport consumer` over HTTP, with a scripted service."""

import json
from typing import Any

import pytest

from tests.integration.test_operator_commands import Run, Scripted, log_level, rapport, scripted

__all__ = ["log_level", "rapport", "scripted"]  # fixtures

LONG = "Undecodable: " + "there is no ce_type header, and so on, " * 10 + "the end"


@pytest.fixture
def partitions(scripted: Scripted) -> list[dict[str, Any]]:
    """Script the answers about three partitions."""
    common = {"topic": "comments.events", "failures": 0, "reason": None, "since": None, "skipping": None}
    found: list[dict[str, Any]] = [
        common | {"partition": 0, "state": "running", "next_offset": 5, "end": 5, "lag": 0},
        common
        | {"partition": 1, "state": "stopped", "next_offset": 120, "end": 180, "lag": 60, "failures": 21}
        | {"reason": LONG, "since": "2026-11-27T10:00:00.000Z"},
        common | {"partition": 2, "state": "stopped", "next_offset": 3, "end": 9, "lag": 6, "skipping": "3..7"},
    ]
    changed = [{"topic": "comments.events", "partition": 1}]
    scripted.answers |= {
        "/consumer": {"group": "notify", "running": True, "partitions": found},
        "/consumer/pause": {"partitions": changed},
        "/consumer/resume": {"partitions": changed},
        "/consumer/skip": {"count": 60},
    }
    return found


async def test_status_is_whole_at_any_width(
    scripted: Scripted, rapport: Run, partitions: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    status, out, err = await rapport("consumer", "status", "notify")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "The consumer of notify runs."
    assert lines[2] == "comments.events 1     stopped  next 120  end 180  lag 60"
    assert lines[3] == f"    since 2026-11-27T10:00:00.000Z: {LONG}"
    assert "    21 records in a row could not be handled" in lines
    assert "    puts 3..7 aside" in lines
    assert "    or put records aside: rapport consumer skip notify comments.events 1 120..LAST" in lines
    scripted.answers["/consumer"]["running"] = False
    assert "The consumer of notify does not run: start `python -m" in (await rapport("consumer", "status", "notify"))[1]
    scripted.answers["/consumer"]["running"] = None
    partitions[0] |= {"next_offset": None, "end": None, "lag": None}
    out = (await rapport("consumer", "status", "notify"))[1]
    assert "Kafka does not answer" in out
    assert "next ?  end ?  lag ?" in out
    out = (await rapport("consumer", "status", "notify", "--json"))[1]
    assert json.loads(out) == scripted.answers["/consumer"]


async def test_partitions_are_paused_resumed_and_skipped(
    scripted: Scripted, rapport: Run, partitions: list[dict[str, Any]]
) -> None:
    ended = await rapport("consumer", "pause", "notify", "comments.events", "1")
    assert ended[0] == 0
    assert ended[1].startswith("1 partition of notify paused: comments.events 1. A consumer that runs obeys")
    ended = await rapport("consumer", "resume", "notify", "--dry-run")
    assert ended[1] == "1 partition would be resumed: comments.events 1. Nothing was changed.\n"
    ended = await rapport("consumer", "skip", "notify", "comments.events", "1", "120..179")
    assert ended[1].startswith("60 records of comments.events 1, 120..179, put aside as dead letters.")
    ended = await rapport("consumer", "skip", "notify", "comments.events", "1", "120..179", "--dry-run", "--json")
    assert json.loads(ended[1]) == {"count": 60}
    place = {"topic": "comments.events", "partition": 1}
    assert scripted.bodies == [
        ("/consumer/pause", {**place, "dry_run": False}),
        ("/consumer/resume", {"topic": None, "partition": None, "dry_run": True}),
        ("/consumer/skip", {**place, "first": 120, "last": 179, "dry_run": False}),
        ("/consumer/skip", {**place, "first": 120, "last": 179, "dry_run": True}),
    ]
    scripted.answers["/consumer/resume"] = {"partitions": []}
    ended = await rapport("consumer", "resume", "notify")
    assert ended[:2] == (0, "Nothing to resume: no such partition of notify is stopped or paused.\n")


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (("status", "people"), 1, "There is no consumer group 'people'; the groups are posts, comments, notify"),
        (("pause", "people"), 1, "There is no consumer group 'people'"),
        (("pause", "notify", "comments.events"), 2, "topic and partition"),
        (("resume", "notify", "comments.events", "-1"), 2, "-1"),
        (("skip", "notify", "comments.events", "1"), 2, "FROM..TO"),
        (("skip", "notify", "comments.events", "1", "120"), 2, "120..179"),
        (("skip", "notify", "comments.events", "1", "9..3"), 2, "9..3"),
        (("skip", "notify", "comments.events", "1", "-3..3"), 2, ""),
    ],
)
async def test_wrong_use_is_refused_before_anybody_is_asked(
    scripted: Scripted, rapport: Run, arguments: tuple[str, ...], status: int, sentence: str
) -> None:
    ended = await rapport("consumer", *arguments)
    assert ended[0] == status
    assert sentence in ended[2]
    assert scripted.bodies == []


@pytest.mark.parametrize("verb", ["status", "pause", "resume", "skip"])
async def test_help_has_an_example(rapport: Run, verb: str) -> None:
    status, out, _ = await rapport("consumer", verb, "--help")
    assert status == 0
    assert f"Example: rapport consumer {verb} notify" in out
