"""Whose site this is: its name, tagline, mark, colours and footer, and the pages that many laws want."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BaseModel, Field

from services.chassis.pictures.kinds import GIF, JPEG, PNG, WEBP, kind_of
from services.chassis.text.renderer import to_html
from services.contracts.characters import is_visible
from services.contracts.colours import Hue
from services.gateway.languages import LANGUAGES, SOURCE

LARGEST_PAGE = 64 * 1024  # bytes of a file with the text of a page
LARGEST_PICTURE = 512 * 1024  # a page has it as a mark of 32 pixels
LARGEST_STYLE = 256 * 1024
SVG = "image/svg+xml"
HUE = re.compile(rb"--hue:\s*([0-9]{1,3})\s*[;}]")  # as a theme sets it
ENDINGS = {PNG: "png", JPEG: "jpg", WEBP: "webp", GIF: "gif", SVG: "svg"}


def _shown(text: str) -> str:
    if not is_visible(text):
        raise ValueError("shows nothing")
    return text


def _spoken(code: str) -> str:
    if code and code not in LANGUAGES:
        raise ValueError(f"is none of {', '.join(LANGUAGES)}")
    return code or SOURCE


def _readable(path: str) -> str:
    """Check that a file holds the text of a page."""
    if path:
        read_page(path)
    return path


def read_page(path: str) -> str:
    """Return the HTML of a page whose text is in a file, in Markdown.

    Raises:
        ValueError: the file gives no text; the message is the predicate of a sentence about the setting.
    """
    return to_html(_text(_content(path, LARGEST_PAGE)), "markdown", "post")


class File(NamedTuple):
    """What is served, and its media type."""

    content: bytes
    media_type: str

    @property
    def path(self) -> str:
        """The path of a picture; another one has another path."""
        return f"/static/mark-{hashlib.sha256(self.content).hexdigest()[:12]}.{ENDINGS[self.media_type]}"


def read_picture(path: str) -> File:
    """Return the picture in a file; its first bytes tell what it is.

    Raises:
        ValueError: it is none.
    """
    content = _content(path, LARGEST_PICTURE)
    kind = kind_of(content) or (SVG if path.lower().endswith(".svg") and b"<svg" in content[:4_096] else None)
    if kind is None:
        raise ValueError("names a file that is no PNG, JPEG, WebP, GIF or SVG")
    return File(content, kind)


def read_style(path: str) -> bytes:
    """Return the style sheet in a file.

    Raises:
        ValueError: it is no text, or too long.
    """
    content = _content(path, LARGEST_STYLE)
    _text(content)
    return content


def _content(path: str, most: int) -> bytes:
    try:
        with Path(path).open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise ValueError(f"names a file that cannot be read: {error.strerror}") from None
    if len(content) > most:
        raise ValueError(f"names a file of more than {most // 1024} KiB")
    return content


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ValueError("names a file that is not text in UTF-8") from None


def _pictured(path: str) -> str:
    """Check that a file holds a picture."""
    if path:
        read_picture(path)
    return path


def _styled(path: str) -> str:
    """Check that a file holds a style sheet."""
    if path:
        read_style(path)
    return path


class SiteSettings(BaseModel):
    """The settings of the site, mixed into those of the gateway.

    Attributes:
        site_language: of the pages for browsers that want none of ours, of feeds and of what the site itself says.
        site_footer: one line of plain text at the end of every page.
        site_imprint_file, site_privacy_file: files with the texts of these pages, in Markdown; without one there is no
            such page.
        site_picture: the file of its mark; without one a letter is made.
        site_hue: of the accent, in degrees of OKLCH; None for that of the style sheet.
        site_stylesheet: the file of a theme.
    """

    site_name: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_shown)] = "Rapport"
    site_tagline: Annotated[str, Field(max_length=200)] = ""
    site_footer: Annotated[str, Field(max_length=500)] = ""
    site_language: Annotated[str, AfterValidator(_spoken)] = "en"
    site_imprint_file: Annotated[str, AfterValidator(_readable)] = ""
    site_privacy_file: Annotated[str, AfterValidator(_readable)] = ""
    site_picture: Annotated[str, AfterValidator(_pictured)] = ""
    site_hue: Hue = None
    site_stylesheet: Annotated[str, AfterValidator(_styled)] = ""


@dataclass(frozen=True)
class Site:
    """The site as its pages show it.

    Attributes:
        imprint, privacy: the HTML of these pages; None where there is none.
        hue: of the accent, as a theme or the settings say; None for that of the style sheet.
        url: the address of its pages, without a slash at the end.
        theme: what a second style sheet changes of the first; empty for nothing.
    """

    name: str = "Rapport"
    tagline: str = ""
    footer: str = ""
    imprint: str | None = None
    privacy: str | None = None
    url: str = ""
    language: str = "en"
    hue: int | None = None
    picture: File | None = None
    theme: bytes = b""

    @classmethod
    def of(cls, settings: SiteSettings, public_url: str = "") -> "Site":
        """Return the site that these settings describe; its files are read now."""
        style = read_style(settings.site_stylesheet) if settings.site_stylesheet else b""
        chosen = HUE.search(style)
        hue = f":root {{ --hue: {settings.site_hue}; }}\n".encode() if settings.site_hue is not None else b""
        imprint, privacy = settings.site_imprint_file, settings.site_privacy_file
        return cls(
            name=settings.site_name.strip(),
            tagline=settings.site_tagline.strip(),
            footer=settings.site_footer.strip(),
            imprint=read_page(imprint) if imprint else None,
            privacy=read_page(privacy) if privacy else None,
            url=public_url.rstrip("/"),
            language=settings.site_language,
            hue=int(chosen[1]) if chosen else settings.site_hue,
            picture=read_picture(settings.site_picture) if settings.site_picture else None,
            theme=hue + style,
        )
