"""`rapport mail` over HTTP, with a scripted service."""

import json

from tests.integration.test_operator_commands import Run, Scripted, log_level, rapport, scripted

__all__ = ["log_level", "rapport", "scripted"]  # fixtures

PAUSED = {"paused": True, "since": "2026-11-27T10:00:00.000Z", "why": "restored", "waiting": 1_200, "due": 30}


async def test_mail_is_paused_and_resumed(scripted: Scripted, rapport: Run) -> None:
    scripted.answers |= {"/mail": PAUSED, "/mail/pause": PAUSED, "/mail/resume": PAUSED}
    status, out, err = await rapport("mail", "status")
    assert (status, err) == (0, "")
    assert out == (
        "Mail is paused since 2026-11-27T10:00:00.000Z: restored; 1,200 notifications waiting, 30 of them due. "
        "To go on: rapport mail resume\n"
    )
    assert json.loads((await rapport("mail", "status", "--json"))[1]) == PAUSED
    assert (await rapport("mail", "pause", "--why", "restored"))[1] == out
    assert (await rapport("mail", "pause", "--dry-run"))[1].endswith("Nothing was changed.\n")
    would = (await rapport("mail", "resume", "--dry-run"))[1]
    assert would == (
        "1,200 notifications waiting, 30 of them due would be looked at, and mailed unless too old. "
        "Nothing was changed.\n"
    )
    assert (await rapport("mail", "resume"))[1].startswith("Mail goes out again; 1,200 notifications waiting")
    scripted.answers["/mail/resume"] = PAUSED | {"paused": False, "since": None, "why": None}
    assert (await rapport("mail", "resume"))[1].startswith("Mail goes out; ")
    for command in ("status", "pause", "resume"):
        assert "Example: rapport mail" in (await rapport("mail", command, "--help"))[1]
