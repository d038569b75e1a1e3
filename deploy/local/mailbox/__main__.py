"""`python -m deploy.local.mailbox --folder=… --smtp-port=… --web-port=…`"""

import argparse
import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session

from deploy.local.mailbox.guard import is_this_user
from deploy.local.mailbox.store import Store
from deploy.local.mailbox.web import create_app

MAIL_BYTES = 32 * 1024 * 1024


class Receiver:
    """Handler that aiosmtpd calls with every mail; its return value is the SMTP reply."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        peer, own = (server.transport.get_extra_info(name) for name in ("peername", "sockname"))
        if not is_this_user(peer, own):
            return "550 5.7.1 this mailbox belongs to another user of this machine"
        name = self._store.add(envelope.mail_from or "", envelope.rcpt_tos, envelope.content)
        return f"250 2.0.0 kept as {name}"


async def serve(folder: Path, smtp_port: int, web_port: int, stop: asyncio.Event) -> None:
    """Receive by SMTP and show by HTTP, on this machine only, until `stop` is set."""
    store = Store(folder)

    def connected() -> asyncio.Protocol:
        protocol: asyncio.Protocol = SMTP(
            Receiver(store), data_size_limit=MAIL_BYTES, enable_SMTPUTF8=True, hostname="localhost"
        )
        return protocol

    async with AsyncExitStack() as stack:
        runner = web.AppRunner(create_app(store), access_log=None, shutdown_timeout=2)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        smtp = await asyncio.get_running_loop().create_server(connected, "127.0.0.1", smtp_port)
        stack.callback(smtp.close)
        await web.TCPSite(runner, "127.0.0.1", web_port).start()
        await stop.wait()


async def main() -> None:
    parser = argparse.ArgumentParser(description="A mailbox for development.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--smtp-port", type=int, required=True)
    parser.add_argument("--web-port", type=int, required=True)
    arguments = parser.parse_args()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(arguments.folder, arguments.smtp_port, arguments.web_port, stop)


if __name__ == "__main__":
    asyncio.run(main())
