"""Servers with a given address are used, and none is started beside them."""

import json
from pathlib import Path
from uuid import uuid4

import aiohttp
import asyncpg
import pytest

from deploy.local import checks
from deploy.local.layout import DATABASES, PORTS, SERVICES, Layout
from deploy.local.processes import LocalError
from deploy.local.valkey import Valkey
from tests.integration.test_local_up import Home
from tests.servers import Servers, free_port
from tests.smtp_sink import SmtpSink


@pytest.mark.timeout(180)
async def test_only_the_services_are_started(
    servers: Servers, redis_url: str, smtp_sink: SmtpSink, tmp_path: Path, unique: str
) -> None:
    admin = await asyncpg.connect(servers.postgres_url("postgres"))
    databases = {service: f"given_{unique}_{service}" for service in DATABASES}
    for name in databases.values():
        await admin.execute(f'create database "{name}"')
    given = {f"{service.upper()}_DATABASE_URL": servers.postgres_url(name) for service, name in databases.items()}
    given |= {
        "REDIS_URL": redis_url,
        "KAFKA_BOOTSTRAP_SERVERS": servers.kafka,
        "KAFKA_PREFIX": f"given{uuid4().hex[:8]}.",
        "SMTP_HOST": "127.0.0.1",
    }
    home = Home(tmp_path / "home", {name: free_port() for name in PORTS} | {"SMTP_PORT": smtp_sink.port})
    try:
        up = await home.run("up", **given)
        assert up.returncode == 0, up.stdout + up.stderr
        units = json.loads((home.folder / "state.json").read_text())["units"]
        assert [unit["name"] for unit in units] == list(SERVICES)

        url = f"http://127.0.0.1:{home.ports['GATEWAY_PORT']}/v1/people"
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json={"name": "Anna", "email": "anna@example.com"}) as answer,
        ):
            assert answer.status == 202
        [mail] = await smtp_sink.wait_for(1, timeout=30)
        assert mail.recipients == ["anna@example.com"]
        assert "/sign-in/" in mail.text
    finally:
        await home.run("down", **given)
        for name in databases.values():
            await admin.execute(f'drop database if exists "{name}" with (force)')
        await admin.close()


def test_a_refused_password_of_redis_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "PATIENCE_SECONDS", 0.1)
    server = Valkey(tmp_path / "valkey", free_port(), password="right")
    server.start()
    try:
        checks.check_given_servers(Layout(tmp_path, {"REDIS_URL": server.url}))
        wrong = server.url.replace("right", "wrong")
        with pytest.raises(LocalError, match="check REDIS_URL") as refusal:
            checks.check_given_servers(Layout(tmp_path, {"REDIS_URL": wrong}))
        assert "wrong" not in str(refusal.value)
    finally:
        server.stop()
