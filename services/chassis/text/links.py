"""Rules for addresses: which may be linked, which pictures may be fetched, where a bare one ends."""

import re
from collections.abc import Mapping
from functools import lru_cache
from html import escape
from urllib.parse import quote, unquote

import nh3

from services.contracts.characters import is_visible

AN_IMAGE = "an image: "  # stands before what a picture shows, where it is said in words
SCHEMES = frozenset(("http", "https", "mailto", "ftp"))
SCHEME = re.compile(r"([^/?#]*?):")
# A host that every parser of addresses accepts; others are asked about.
ORDINARY_HOST = re.compile(
    r"(?:https?|ftp)://(?!(?:[^/?#]*\.)?xn--)(?:[a-z0-9][a-z0-9-]*+\.)*+[a-z][a-z0-9-]*+(?::[0-9]{1,4})?(?![^/?#])",
    re.IGNORECASE,
)
JUDGE = nh3.Cleaner(tags={"a"}, attributes={"a": {"href"}}, url_schemes={"http", "https", "ftp"}, link_rel=None)
PICTURE = re.compile(r"(?:https?:)?//([a-z0-9.-]+)(?::[0-9]{1,5})?(?:[/?#][^\\]*)?", re.IGNORECASE)

BARE = re.compile(r"(?:(?:https?|ftp)://|www\.|mailto:)?\w", re.IGNORECASE)
LONGEST = 2000  # characters of a bare address: a longer one is none, and each is looked at once or twice
ADDRESS = re.compile(
    rf"(?<![A-Za-z0-9_@./-])(?:(?:https?|ftp)://|www\.(?=[\w-]+\.))\w[^\s<>\"。，、．｡､]{{0,{LONGEST}}}+", re.IGNORECASE
)
STOPS = re.compile("[。，、．｡､]")
# The parser knows small letters alone, and telephones begin a sentence with a capital one.
CAPITAL = re.compile(r"(?<![\w/.@-])(?-i:(?=[a-z]*[A-Z]))((?:https?|ftp)://|www\.)\w[^\s<]{0,2000}+", re.IGNORECASE)
TRAILING = "?!.,:;*_~'\"？！：；…”’»›“‘„"
WIDE_TRAILING = tuple("？！：；…”’»›“‘„")  # what the parser leaves at the end of an address
BRACKETS = {")": "(", "）": "（", "」": "「", "』": "『", "】": "【", "》": "《", "〉": "〈", "］": "［", "｝": "｛"}
OPENING = frozenset(BRACKETS.values())
URL_SAFE = "-_.+!*'(),%#@?=;:/$&~[]"


@lru_cache(maxsize=64)  # each is judged three times: by the pass, by the link, by the sanitiser
def safe_url(url: str) -> str | None:
    """Return the address without outer white space if it may stand in a link, else None.

    A colon before the first `/`, `?` or `#` ends a scheme, and what stands before it must be exactly a scheme that is
    allowed: `&#160;javascript:` is none, and it does not matter which characters a browser would pass over. An address
    whose host cannot be read, as in `http://a:b/`, leads nowhere.
    """
    url = url.strip(" \t\n\r\f")
    scheme = SCHEME.match(url)
    if not url or (scheme and scheme[1].lower() not in SCHEMES):
        return None
    return url if ORDINARY_HOST.match(url) or _can_be_read(url, scheme[1].lower() if scheme else "") else None


def _can_be_read(url: str, scheme: str) -> bool:
    """Return whether the host of an address can be read, as the sanitiser judges it."""
    if scheme == "mailto" or (not scheme and not url.startswith("//")):
        return True
    return " href=" in JUDGE.clean(f'<a href="{escape(url if scheme else "http:" + url)}">')


def picture_host(url: str) -> str | None:
    """Return the host that a picture is fetched from, in lower case; None if browsers may not agree about it."""
    match = PICTURE.fullmatch(url)
    return match[1].lower() if match else None


def picture_name(description: str, url: str | None) -> str:
    """Return what a picture is called: its description, or the name of its file if that shows nothing."""
    return description if url is None or is_visible(description) else file_name(url)


def said_of_picture(attributes: Mapping[str, str]) -> str:
    """Return a picture in words, given the attributes of its tag."""
    return AN_IMAGE + picture_name(attributes.get("alt", ""), attributes.get("src", ""))


def file_name(url: str) -> str:
    """Return the last part of the path."""
    path = re.split(r"[?#]", url, maxsplit=1)[0].rstrip("/")
    return unquote(path.rpartition("/")[2]) or url


def address_end(text: str) -> int:
    """Return how much of a text that `ADDRESS` has found is linked; 0 if it is too long."""
    return trimmed_end(text, bare_end(text)) if len(text) < LONGEST else 0


def bare_end(text: str) -> int:
    """Return how much of a bare address is linked.

    A full-width stop or comma ends it, a closing bracket only if it has no partner inside: a name such as
    `…/X（消歧义）` stays whole. Punctuation at its end belongs to the sentence.
    """
    stop = STOPS.search(text)
    end = stop.start() if stop else len(text)
    opened: dict[str, int] = {}
    for position, character in enumerate(text[:end]):
        if character in OPENING:
            opened[character] = opened.get(character, 0) + 1
        elif character != ")" and (partner := BRACKETS.get(character)):
            if not opened.get(partner):
                end = position
                break
            opened[partner] -= 1
    # The parser has judged the end that it saw; if ours is another, the same is done there.
    return trimmed_end(text, end) if end < len(text) or text.endswith(WIDE_TRAILING) else end


def trimmed_end(text: str, end: int) -> int:
    """Return the end without punctuation and without closing brackets that have no partner."""
    surplus = text.count(")", 0, end) - text.count("(", 0, end)
    while end:
        if text[end - 1] in TRAILING:
            end -= 1
        elif text[end - 1] == ")" and surplus > 0:
            end -= 1
            surplus -= 1
        else:
            break
    return end


def percent_encoded(text: str) -> str:
    """Return the address as the parser writes it into `href`."""
    return quote(text, safe=URL_SAFE)
