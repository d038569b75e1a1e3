"""Whose site this is: its name, its tagline, its footer, and the two pages that the law of many countries wants."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from services.chassis.text.renderer import to_html
from services.contracts.characters import is_visible
from services.gateway.languages import LANGUAGES

LARGEST_PAGE = 64 * 1024  # bytes of a file with the text of a page


def _shown(text: str) -> str:
    if not is_visible(text):
        raise ValueError("shows nothing")
    return text


def _spoken(code: str) -> str:
    if code not in LANGUAGES:
        raise ValueError(f"is none of {', '.join(LANGUAGES)}")
    return code


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
    try:
        content = Path(path).read_bytes()[: LARGEST_PAGE + 1]
        text = content.decode()
    except OSError as error:
        raise ValueError(f"names a file that cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("names a file that is not text in UTF-8") from None
    if len(content) > LARGEST_PAGE:
        raise ValueError(f"names a file of more than {LARGEST_PAGE // 1024} KiB")
    return to_html(text, "markdown", "post")


class SiteSettings(BaseModel):
    """The settings of the site, mixed into those of the gateway.

    Attributes:
        site_language: of the pages for browsers that want none of ours, of feeds and of what the site itself says.
        site_footer: one line of plain text at the end of every page.
        site_imprint_file, site_privacy_file: files with the texts of these pages, in Markdown; without one there is no
            such page.
    """

    site_name: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_shown)] = "Rapport"
    site_tagline: Annotated[str, Field(max_length=200)] = ""
    site_footer: Annotated[str, Field(max_length=500)] = ""
    site_language: Annotated[str, AfterValidator(_spoken)] = "en"
    site_imprint_file: Annotated[str, AfterValidator(_readable)] = ""
    site_privacy_file: Annotated[str, AfterValidator(_readable)] = ""


@dataclass(frozen=True)
class Site:
    """The site as its pages show it.

    Attributes:
        imprint, privacy: the HTML of these pages; None where there is none.
    """

    name: str = "Rapport"
    tagline: str = ""
    footer: str = ""
    imprint: str | None = None
    privacy: str | None = None

    @classmethod
    def of(cls, settings: SiteSettings) -> "Site":
        """Return the site that these settings describe; the files of its pages are read now."""
        return cls(
            settings.site_name.strip(),
            settings.site_tagline.strip(),
            settings.site_footer.strip(),
            *(read_page(path) if path else None for path in (settings.site_imprint_file, settings.site_privacy_file)),
        )
