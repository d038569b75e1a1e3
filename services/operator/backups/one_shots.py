"""Run the one-shot roles of services as processes, each with its own variables alone."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from services.operator.batches import say
from services.operator.failures import Failed

ORDER = ("notify", "comments", "posts", "people")  # read models before their owners, so that these are newer
OWNED = ("POSTS_", "COMMENTS_", "PEOPLE_", "NOTIFY_", "GATEWAY_", "OPERATOR_", "BROKER_")
UNNEEDED = ("SMTP_", "REDIS_URL", "VERIFICATION_KEYS")
ACCOUNT = ("KAFKA_USERNAME", "KAFKA_PASSWORD", "KAFKA_PASSWORD_FILE")


def environment_of(service: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return what a service's one-shot role may see: its database, and the broker with its own account.

    `COMMENTS_KAFKA_USERNAME` and so on are `KAFKA_USERNAME` of that service, because this environment is everybody's.
    """
    own = f"{service.upper()}_"
    databases = {f"{own}DATABASE_{name}" for name in ("URL", "URL_FILE", "DIRECT_URL", "DIRECT_URL_FILE")}
    found = {name: value for name, value in given.items() if not name.startswith((*OWNED, *UNNEEDED))}
    found |= {name: value for name, value in given.items() if name in databases}
    account = {name: given[own + name] for name in ACCOUNT if given.get(own + name)}
    if account:
        found = {name: value for name, value in found.items() if name not in ACCOUNT} | account
    return found


def check_addresses(services: tuple[str, ...], given: Mapping[str, str]) -> None:
    """Check that the address of every database is there.

    Raises:
        Failed: one is not; the sentence says where it can be had.
    """
    for service in services:
        variable = f"{service.upper()}_DATABASE_URL"
        if not given.get(variable) and not given.get(f"{variable}_FILE"):
            raise Failed(
                f"{variable} is not set: this command reaches the databases themselves. Beside `make up` type "
                "`make backup` or `make restore`, in compose `docker compose run --rm backup`: these know them."
            )


def program(service: str) -> list[str]:
    """Return the command of a service."""
    return [sys.executable, "-m", f"services.{service}"]


async def run(service: str, role: str, folder: Path, *options: str) -> dict[str, Any]:
    """Run a role with an absolute folder, and return its result. Its progress goes to standard error as it comes.

    Raises:
        Failed: it was refused; its own sentence says why.
    """
    process = await asyncio.create_subprocess_exec(
        *program(service),
        role,
        str(folder),
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment_of(service, os.environ),
    )
    assert process.stdout
    assert process.stderr
    try:
        out, said = await asyncio.gather(process.stdout.read(), _passed_on(process.stderr))
        status = await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    if status != 0:
        raise Failed(said or f"{service} {role} ended with status {status} and said nothing.")
    if said:
        say(said)
    result: dict[str, Any] = orjson.loads(out.splitlines()[-1])
    return result


async def _passed_on(stream: asyncio.StreamReader) -> str:
    """Print every line but the last as it comes; return the last, which is the reason of a refusal."""
    last = ""
    while line := await stream.readline():
        if last:
            say(last)
        last = line.decode(errors="replace").rstrip()
    return last
