"""`make picture`: draw the README's picture, two windows of the site that `make demo` has left, in Chromium."""

import asyncio
import io
import sys
from pathlib import Path
from shutil import which

from PIL import Image
from playwright.async_api import Browser, async_playwright

from deploy.local.background import as_running
from deploy.local.layout import Layout
from deploy.local.story import LETTERS
from tests.stack import ROOT

FILE = ROOT / "docs/pictures/site.webp"
WINDOW = {"width": 920, "height": 1040}
MARGIN = 28
GROUND = (214, 208, 198)
WIDE = 1280  # of the whole picture
QUALITY = 82


async def window(browser: Browser, address: str) -> Image.Image:
    """Return a page as a reader sees it who is not signed in, at the place that the address names."""
    page = await browser.new_page(viewport=WINDOW, color_scheme="light", reduced_motion="reduce")  # type: ignore[arg-type]
    await page.goto(address, wait_until="networkidle")
    shot = await page.screenshot()
    await page.close()
    return Image.open(io.BytesIO(shot)).convert("RGB")


async def windows_of(site: str) -> list[Image.Image]:
    """Return the beginning of a post, and the conversation below it."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=which("chromium"), args=["--no-sandbox"])
        post = f"{site}/posts/{LETTERS.slug}"
        windows = [await window(browser, address) for address in (post, f"{post}#comments")]
        await browser.close()
    return windows


def draw(windows: list[Image.Image], file: Path) -> None:
    """Put the windows side by side into one picture of a small file."""
    wide = sum(one.width for one in windows) + MARGIN * (len(windows) + 1)
    whole = Image.new("RGB", (wide, windows[0].height + 2 * MARGIN), GROUND)
    at = MARGIN
    for one in windows:
        whole.paste(one, (at, MARGIN))
        at += one.width + MARGIN
    whole.thumbnail((WIDE, WIDE), Image.Resampling.LANCZOS)
    file.parent.mkdir(exist_ok=True)
    whole.save(file, "WEBP", quality=QUALITY, method=6)
    print(f"{file}: {whole.width} × {whole.height}, {file.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    address = as_running(Layout.from_environment()).public_url
    draw(asyncio.run(windows_of(address)), Path(sys.argv[1]) if sys.argv[1:] else FILE)
