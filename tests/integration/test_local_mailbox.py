"""The mailbox: received mails are stored byte for byte and shown safely."""

import asyncio
import os
import smtplib
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path
from shutil import which

import aiohttp
import pytest
from playwright.async_api import async_playwright

from deploy.local.mailbox.__main__ import serve
from deploy.local.mailbox.store import Store
from tests.servers import free_port
from tests.waiting import eventually

ROOT = Path(__file__).parent.parent.parent
CHROMIUM = which("chromium")
HOSTILE = "<script>alert(1)</script>"


class Mailbox:
    def __init__(self, folder: Path, session: aiohttp.ClientSession) -> None:
        self.folder = folder
        self.session = session
        self.smtp_port, self.web_port = free_port(), free_port()

    async def get(self, path: str) -> tuple[int, str, str]:
        """Return status, text and content security policy."""
        async with self.session.get(f"http://127.0.0.1:{self.web_port}{path}") as answer:
            return answer.status, await answer.text(), answer.headers.get("Content-Security-Policy", "")

    async def messages(self, query: str = "") -> list[dict[str, object]]:
        async with self.session.get(f"http://127.0.0.1:{self.web_port}/messages.json{query}") as answer:
            items: list[dict[str, object]] = (await answer.json())["items"]
            return items

    async def send(self, content: bytes, to: str = "anna@example.com") -> None:
        def deliver() -> None:
            with smtplib.SMTP("127.0.0.1", self.smtp_port, timeout=5) as client:
                client.sendmail("notifications@example.com", [to], content)

        await asyncio.to_thread(deliver)


@pytest.fixture
async def mailbox(tmp_path: Path) -> AsyncIterator[Mailbox]:
    stop = asyncio.Event()
    async with aiohttp.ClientSession() as session:
        mailbox = Mailbox(tmp_path / "mail", session)
        running = asyncio.create_task(serve(mailbox.folder, mailbox.smtp_port, mailbox.web_port, stop))

        async def answers() -> bool:
            try:
                return (await mailbox.get("/livez"))[0] == 200
            except aiohttp.ClientError:
                return False

        await eventually(answers)
        yield mailbox
        stop.set()
        await running


def mail(subject: str = "Somebody answered you", text: str = "Look: https://example.com/a?b=1.") -> bytes:
    message = EmailMessage()
    message["Subject"] = subject
    message["To"] = "someone-else@example.com"
    message.set_content(text)
    message.add_alternative(f"<p>Hello {HOSTILE}</p>", subtype="html")
    message.set_boundary("boundary")
    return bytes(message).replace(b"\n", b"\r\n")


async def test_a_mail_is_stored_unchanged_and_listed(mailbox: Mailbox) -> None:
    await mailbox.send(mail())
    [item] = await mailbox.messages()
    assert item["to"] == ["anna@example.com"]
    assert item["from"] == "notifications@example.com"
    assert item["subject"] == "Somebody answered you"
    assert "https://example.com/a?b=1" in str(item["text"])
    kept = Store(mailbox.folder).get(str(item["id"]))
    assert kept is not None
    assert kept.content == mail()
    assert await mailbox.messages("?to=ANNA@example.com") == [item]
    assert await mailbox.messages("?to=ben@example.com") == []


async def test_the_newest_is_first(mailbox: Mailbox) -> None:
    for number in range(3):
        await mailbox.send(mail(f"Number {number}"))
    assert [item["subject"] for item in await mailbox.messages()] == ["Number 2", "Number 1", "Number 0"]


async def test_pages_escape_the_text_of_mails(mailbox: Mailbox) -> None:
    await mailbox.send(mail(subject=f"Hi {HOSTILE}", text=f'See http://example.com/{HOSTILE} and "quotes"'))
    [item] = await mailbox.messages()
    for path in ("/", f"/messages/{item['id']}"):
        status, text, policy = await mailbox.get(path)
        assert status == 200
        assert "<script" not in text
        assert "&lt;script&gt;" in text
        assert "default-src 'none'" in policy


async def test_links_of_the_text_part_are_clickable(mailbox: Mailbox) -> None:
    await mailbox.send(mail())
    [item] = await mailbox.messages()
    _, text, _ = await mailbox.get(f"/messages/{item['id']}")
    assert '<a href="https://example.com/a?b=1" rel="noreferrer">' in text


async def test_the_html_part_is_in_a_sandbox_without_scripts(mailbox: Mailbox) -> None:
    await mailbox.send(mail())
    [item] = await mailbox.messages()
    _, page, _ = await mailbox.get(f"/messages/{item['id']}")
    assert 'sandbox="allow-popups' in page
    _, _, policy = await mailbox.get(f"/messages/{item['id']}/html")
    assert policy.startswith("sandbox ")
    assert "allow-scripts" not in policy
    assert "default-src 'none'" in policy


async def test_the_source_is_plain_text(mailbox: Mailbox) -> None:
    await mailbox.send(mail())
    [item] = await mailbox.messages()
    status, text, _ = await mailbox.get(f"/messages/{item['id']}/source")
    assert (status, text) == (200, mail().decode())


@pytest.mark.parametrize("content", [b"\xff\xfe not a mail", b"Subject: =?x?b?!?=\r\nTo: @@\r\n\r\nhi", b""])
async def test_broken_mails_are_shown_too(mailbox: Mailbox, content: bytes) -> None:
    await mailbox.send(content)
    [item] = await mailbox.messages()
    assert (await mailbox.get("/"))[0] == 200
    assert (await mailbox.get(f"/messages/{item['id']}"))[0] == 200


@pytest.mark.parametrize("name", ["nothing", "0000000000000000-00000000", "..%2F..%2Fetc%2Fpasswd"])
async def test_a_missing_mail_is_not_found(mailbox: Mailbox, name: str) -> None:
    for ending in ("", "/html", "/source"):
        assert (await mailbox.get(f"/messages/{name}{ending}"))[0] == 404


async def test_only_its_own_page_can_clear_it(mailbox: Mailbox) -> None:
    await mailbox.send(mail())
    url = f"http://127.0.0.1:{mailbox.web_port}/clear"
    async with mailbox.session.post(url, headers={"Origin": "http://evil.example"}) as answer:
        assert answer.status == 403
    assert len(await mailbox.messages()) == 1
    async with mailbox.session.post(url) as answer:
        assert answer.status == 200
    assert await mailbox.messages() == []


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", ""]
)
async def test_it_answers_this_machine_s_names_only(mailbox: Mailbox, host: str) -> None:
    await mailbox.send(mail())
    for path in ("/", "/messages.json", "/clear"):
        request = f"GET {path} HTTP/1.1\r\nHost: {host.format(port=mailbox.web_port)}\r\nConnection: close\r\n\r\n"
        assert (await raw(mailbox.web_port, request)).startswith(b"HTTP/1.1 403"), path


@pytest.mark.parametrize("head", ["", "Host: localhost:{port}\r\nHost: evil.example\r\n"])
async def test_no_or_two_hosts_are_none_of_its_names(mailbox: Mailbox, head: str) -> None:
    request = f"GET / HTTP/1.1\r\n{head.format(port=mailbox.web_port)}Connection: close\r\n\r\n"
    assert (await raw(mailbox.web_port, request)).split()[1] in (b"400", b"403")


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]"])
async def test_it_answers_every_name_of_this_machine(mailbox: Mailbox, name: str) -> None:
    request = f"GET / HTTP/1.1\r\nHost: {name}:{mailbox.web_port}\r\nConnection: close\r\n\r\n"
    assert (await raw(mailbox.web_port, request)).startswith(b"HTTP/1.1 200")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium")
async def test_it_can_be_read_on_a_telephone_and_in_the_dark(mailbox: Mailbox) -> None:
    message = b"Message-ID: <" + b"a" * 90 + b"@example.com>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    await mailbox.send(message + mail("Somebody answered your comment on a post with a long title " + "w" * 80))
    [item] = await mailbox.messages()
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await browser.new_page(viewport={"width": 360, "height": 740}, color_scheme="dark")
        for path in ("/", f"/messages/{item['id']}"):
            await page.goto(f"http://127.0.0.1:{mailbox.web_port}{path}")
            assert await page.evaluate("document.documentElement.scrollWidth") <= 360, path
            widths = await page.evaluate("[...document.querySelectorAll('td')].map(one => one.clientWidth)")
            assert min(widths) >= 300, (path, widths)
            dark = await page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)")
            light = await page.evaluate("getComputedStyle(document.body).color.match(/[0-9]+/g).map(Number)")
            assert max(dark[:3]) < 64 < 192 < min(light[:3]), (path, dark, light)
        await browser.close()


async def raw(port: int, request: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request.encode())
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


async def test_files_are_private(mailbox: Mailbox) -> None:
    await mailbox.send(mail())
    assert mailbox.folder.stat().st_mode & 0o077 == 0
    files = list(mailbox.folder.iterdir())
    assert len(files) == 2
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)


def delivered(port: int, uid: int) -> str:
    """Return the answer to a mail of this user."""
    code = (
        f"import os, socket; os.setuid({uid}); s = socket.socket(); s.connect(('127.0.0.1', {port}))\n"
        "f = s.makefile('rw')\n"
        "for line in ('HELO x', 'MAIL FROM:<a@b>', 'RCPT TO:<c@d>', 'DATA', 'Subject: x\\r\\n\\r\\n.'):\n"
        "    f.readline(); f.write(line + '\\r\\n'); f.flush()\n"
        "print(f.readline()[:3])"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_other_users_of_the_machine_read_nothing(tmp_path: Path) -> None:
    """The mailbox runs as one user, and is asked by it, by root and by another."""
    user, other = 12345, 54321
    port, smtp_port = free_port(), free_port()
    source = f"""
import asyncio, os, pathlib, deploy.local.mailbox.__main__ as mailbox
os.setgid({user}), os.setuid({user})
asyncio.run(mailbox.serve(pathlib.Path("mail"), {smtp_port}, {port}, asyncio.Event()))
"""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o055 != 0o055 and str(folder).startswith(tempfile.gettempdir() + "/"):
            folder.chmod(0o755)
    os.chown(tmp_path, user, user)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    running = subprocess.Popen([sys.executable, "-c", source], cwd=tmp_path, env=environment)  # noqa: ASYNC220
    try:

        def status(uid: int, then: str = "") -> str:
            request = f"GET /messages.json HTTP/1.1\\r\\nHost: localhost:{port}\\r\\n\\r\\n"
            code = (  # everything is imported before: another user may not read this Python
                f"import os, socket; os.setuid({uid}); s = socket.socket(); s.connect(('127.0.0.1', {port})); "
                f"s.sendall(b'{request}'); {then or 'pass'}; print(s.recv(12)[-3:].decode())"
            )
            return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()

        def answers() -> bool:
            return status(0) == "200"

        await eventually(lambda: asyncio.to_thread(answers), timeout=20)
        assert await asyncio.to_thread(status, user) == "200"
        assert await asyncio.to_thread(status, other) == "403"
        assert await asyncio.to_thread(status, other, "s.shutdown(socket.SHUT_WR)") != "200"
        assert await asyncio.to_thread(delivered, smtp_port, user) == "250"
        assert await asyncio.to_thread(delivered, smtp_port, other) == "550"  # no mails that look like ours either
    finally:
        running.kill()
        running.wait()
