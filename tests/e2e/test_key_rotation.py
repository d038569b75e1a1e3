"""Replace every key of a running system: nothing that was signed, derived or sent before is refused before its time."""

import json
import os
import re
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from services.operator.key_rotation import NAMES
from tests.client import Client, Person
from tests.e2e.test_doctor import doctor, surroundings_of
from tests.e2e.test_operator_command import Ended, rapport
from tests.smtp_sink import SmtpSink
from tests.stack import SERVICES, Stack
from tests.waiting import eventually

CODE = re.compile(r"the code (\d{8})")


async def restart(stack: Stack, file: Path) -> None:
    """Start every process again, one after the other, with the keys of the file."""
    stack.keys = {name: value for name, value in dotenv_values(file).items() if value is not None}
    for service in SERVICES:
        stack.part(service).stop()
        await stack.start(service)


async def keys(stack: Stack, file: Path, *arguments: str) -> Ended:
    if "--restarted" in arguments:
        os.utime(file, (0, 0))  # as if an hour had passed
    return await rapport(stack, "keys", *arguments, "--file", str(file), **surroundings_of(stack))


async def each(stack: Stack, file: Path, step: str, *options: str) -> None:
    for name in NAMES:
        if (step, name) != ("drop", "notify-secret"):
            ended = await keys(stack, file, step, name, *options)
            assert ended.status == 0, (name, ended)


async def no_fault(stack: Stack) -> None:
    async def found() -> dict[str, dict[str, Any]]:
        return {name: one for name, one in (await doctor(stack))[1].items() if one["level"] == "fault"}

    async def none() -> bool:
        return not await found()

    await eventually(none, timeout=30)


async def answered(client: Client, sink: SmtpSink, anna: Person, writer: Person, post_id: str) -> str:
    """Let somebody answer Anna, and return the path of the unsubscribe link in her mail."""
    before = len(sink.to(anna.email))
    question = await client.comment(anna, post_id)
    await client.comment(writer, post_id, parent_id=question["id"])
    await eventually(lambda: len(sink.to(anna.email)) > before, timeout=30)
    link = re.search(r"<(https?://[^>]+)>", sink.to(anna.email)[-1].message["List-Unsubscribe"])
    assert link is not None
    return "/unsubscribe/" + link[1].rsplit("/", 1)[1]


async def asked_for_a_code(client: Client, sink: SmtpSink, email: str) -> dict[str, str]:
    """Ask for a sign-in mail, and return the body that signs in by its code."""
    asked = await client.call("POST", "/v1/people", {"name": "Cleo", "email": email})
    assert asked.status == 202, asked.body
    await eventually(lambda: bool(sink.to(email)), timeout=30)
    code = CODE.search(sink.to(email)[-1].text)
    assert code is not None, sink.to(email)[-1].text
    return {"request": asked.json["request"], "code": code[1]}


async def test_every_key_is_replaced_while_people_write(
    own_stack: Stack, own_client: Client, sink: SmtpSink, writer: Person, tmp_path: Path
) -> None:
    stack, client, file = own_stack, own_client, tmp_path / "keys.env"
    file.write_text("".join(f"{name}='{value}'\n" for name, value in stack.keys.items()))
    first = dict(stack.keys)
    anna = await client.sign_in("Anna", "anna@example.com")
    post_id = (await client.publish(writer))["id"]
    link = await answered(client, sink, anna, writer, post_id)
    by_first = await asked_for_a_code(client, sink, "cleo@example.com")

    async def goes_on() -> None:
        """Look whether what was given out before the replacement works, and the services call each other."""
        me = await client.call("GET", "/v1/me", who=anna)
        assert (me.status, me.json["name"]) == (200, "Anna"), me.body
        assert (await client.call("GET", link)).status == 200
        await answered(client, sink, anna, writer, post_id)
        await no_fault(stack)

    await each(stack, file, "rotate")
    early = await keys(stack, file, "switch", "gateway")
    assert early.status == 1
    assert early.err.count("does not accept gateway-2 yet: start it again.") == len(SERVICES)
    assert "does not accept secret 2" in (await keys(stack, file, "switch", "notify-secret")).err
    await restart(stack, file)
    await goes_on()

    await each(stack, file, "switch")
    assert "signs with gateway-1: start it again." in (await keys(stack, file, "drop", "gateway")).err
    await restart(stack, file)
    await goes_on()
    assert (await client.call("POST", "/v1/sessions", by_first)).status == 201
    by_second = await asked_for_a_code(client, sink, "dora@example.com")
    told = await keys(stack, file, "status", "--json")
    assert {json.loads(line)["in_use"] for line in told.out.splitlines()} == {
        *("gateway-2", "notify-2", "operator-2", "people-2", "secret 2")
    }
    assert "What people-1 signed may be valid for" in (await keys(stack, file, "drop", "people")).err

    await each(stack, file, "drop", "--restarted", "1h")
    await restart(stack, file)
    assert (await client.call("GET", "/v1/me", who=anna)).status == 401  # an hour had not passed in truth
    anna = await client.sign_in("Anna", "anna@example.com")
    writer.access_token = (await client.sign_in("Ada Admin", writer.email)).access_token
    await goes_on()
    assert (await client.call("POST", "/v1/sessions", by_second)).status == 201
    stack.keys = stack.keys | {"OPERATOR_SIGNING_KEY": first["OPERATOR_SIGNING_KEY"]}
    assert (await rapport(stack, "mail", "status")).status == 1
