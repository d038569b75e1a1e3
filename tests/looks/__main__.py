"""`make screenshots`: start a system of its own, play the story, and show every page and state to people.

    python -m tests.looks FOLDER [--seconds 300] [--only WORD ...] [--theme FILE]

Each is shot 360, 768 and 1280 pixels wide, light, dark, and from right to left. What is in the folder already is not
shot again, unless templates or style changed since: a run that was ended, or whose time was up, goes on where it was.
"""

import argparse
import asyncio
import hashlib
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Error, Page, async_playwright

from tests.client import Client
from tests.looks.browsing import cookies_of, window
from tests.looks.story import Story, told
from tests.looks.views import VIEWS, View
from tests.servers import PrivateServers
from tests.smtp_sink import listening
from tests.stack import ROOT, Stack, started

WIDTHS = (360, 768, 1280)
HEIGHT = 800
WINDOWS = 2  # at once
LANGUAGES = {"ltr": "en", "rtl": "ar"}
SCHEMES = {"ltr": ("light", "dark"), "rtl": ("light",)}
SOURCES = ("services/gateway/templates", "services/gateway/static", "services/gateway/translations", "tests/looks")
SITE = {
    "SITE_NAME": "Slow Post",
    "SITE_TAGLINE": "Letters, pencils, and the time between",
    "SITE_FOOTER": "Written by hand, mostly.",
}
STAMP = "made-of.txt"
SETTLE = """async (direction) => {
  document.documentElement.dir = direction;
  for (const image of document.images) image.loading = 'eager';
  await Promise.all([...document.images].map((image) => image.decode().catch(() => null)));
}"""
# Chromium has left the middle of a long page blank when it was asked right after a change of its width.
PAINTED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))"


def shots(folder: Path, view: View, direction: str) -> Iterator[tuple[str, int, Path]]:
    """Yield scheme, width and file of each picture of a view in a direction."""
    for scheme in SCHEMES[direction]:
        for width in WIDTHS:
            mode = scheme if direction == "ltr" else "rtl"
            yield scheme, width, folder / f"{view.name}-{width}-{mode}.png"


async def shoot(page: Page, folder: Path, view: View, direction: str) -> None:
    """Take the pictures of a page that is open."""
    await page.evaluate(SETTLE, direction)
    for scheme, width, file in shots(folder, view, direction):
        await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        await page.set_viewport_size({"width": width, "height": HEIGHT})
        await page.evaluate(PAINTED)
        unfinished = file.with_suffix(".part.png")
        await page.screenshot(path=unfinished, full_page=True, animations="disabled")
        unfinished.replace(file)


async def shoot_all(browser: Browser, story: Story, folder: Path, views: list[View], deadline: float) -> int:
    """Take what is missing until the deadline; return how many views are not shown.

    Each view is finished before the next one, so that what there was time for shows every width and scheme.
    """
    todo = deque((direction, view) for view in views for direction in LANGUAGES
                 if any(not file.exists() for _, _, file in shots(folder, view, direction)))  # fmt: skip
    kept = await cookies_of(browser, story) if todo else {}
    left = len(todo)

    async def work() -> None:
        nonlocal left
        while todo and time.monotonic() <= deadline:
            direction, view = todo.popleft()
            options = {"locale": LANGUAGES[direction], "viewport": {"width": WIDTHS[0], "height": HEIGHT}}
            said = "shot"
            async with window(browser, story, kept[view.who], **options) as page:
                try:
                    await view.open(page, story)
                    await shoot(page, folder, view, direction)
                    left -= 1
                except (AssertionError, Error) as error:  # one page less; the others are worth looking at
                    said = f"failed: {str(error)[:200]}"
            print(f"{view.name} ({direction}) {said}", flush=True)

    async with asyncio.TaskGroup() as group:
        for _ in range(WINDOWS):
            group.create_task(work())
    return left


@asynccontextmanager
async def system(folder: Path, settings: Mapping[str, str]) -> AsyncIterator[tuple[Stack, Client]]:
    """Run servers and services in a folder, with these settings more, and yield a client of them."""
    servers = PrivateServers(folder, durable=False)
    try:
        async with listening() as sink:
            imprint = folder / "imprint.md"
            imprint.write_text("Ada, of no *fixed* abode.\n\n# Where to write to\n\nThe shoebox.")
            privacy = folder / "privacy.md"
            privacy.write_text("What you write is *shown*. Your address is not.\n\n# How long\n\nUntil you delete it.")
            texts = {"SITE_IMPRINT_FILE": str(imprint), "SITE_PRIVACY_FILE": str(privacy)}
            own = SITE | texts | dict(settings)
            stack = Stack(servers, folder, sink.port, "looks", overrides=own)
            async with started(stack), Client(stack.url, sink) as client:
                yield stack, client
    finally:
        servers.stop()


async def run(folder: Path, views: list[View], deadline: float, settings: Mapping[str, str]) -> int:
    """Take all pictures; return how many views are left."""
    with tempfile.TemporaryDirectory() as scratch:
        async with system(Path(scratch), settings) as (_, client), async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            ada = await client.sign_in("Ada", "admin@example.com")
            return await shoot_all(browser, await told(client, ada, "one"), folder, views, deadline)


def digest() -> str:
    """Return what tells this state of templates and style from others."""
    found = hashlib.sha256()
    for source in SOURCES:
        for file in sorted((ROOT / source).rglob("*.*")):
            if file.is_file() and file.suffix != ".pyc":
                found.update(file.read_bytes())
    return found.hexdigest()


def prepare(folder: Path) -> None:
    """Make the folder; take out pictures of what has changed since."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / STAMP
    if not stamp.exists() or stamp.read_text() != digest():
        for file in folder.glob("*.png"):
            file.unlink()
        stamp.write_text(digest())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0, help="after which no other page is begun")
    parser.add_argument("--only", nargs="*", default=[], help="words in the names of pages")
    parser.add_argument("--theme", type=Path, help="a style sheet that the site has beside its own")
    asked = parser.parse_args()
    if shutil.which("chromium") is None:
        sys.exit("Chromium is needed: apt install chromium")
    deadline = time.monotonic() + asked.seconds
    prepare(asked.folder)
    theme = {"SITE_STYLESHEET": str(asked.theme.resolve())} if asked.theme else {}
    views = [view for view in VIEWS if not asked.only or any(word in view.name for word in asked.only)]
    left = asyncio.run(run(asked.folder, views, deadline, theme))
    print(f"{left} pages are left: run it again." if left else f"All pictures are in {asked.folder}.")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
