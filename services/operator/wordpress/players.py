"""What the shortcodes of WordPress itself become: figures with captions, and links to what would be played."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from urllib.parse import urlsplit

from services.chassis.text.tokens import resolved
from services.operator.wordpress.shortcodes import Shortcode

PICTURES = frozenset(("png", "jpg", "jpeg", "gif", "webp", "avif", "svg", "bmp", "ico"))
SOUNDS = frozenset(("mp3", "m4a", "ogg", "oga", "wav", "wma", "flac", "aac"))
FILMS = frozenset(("mp4", "m4v", "webm", "ogv", "wmv", "flv", "mov", "avi", "mpg", "mpeg", "3gp", "mkv"))
ADDRESS = re.compile(r"(?:https?:)?//[^\s\"'<>|,\[\]]+", re.IGNORECASE)
INSIDE = r"""(?:=\s*+(?:"[^"]*+"|'[^']*+')|[^<>])*+"""
PICTURE = re.compile(rf"\s*+(?:<a(?=\s){INSIDE}>\s*+)?<img(?=[\s/]){INSIDE}>(?:\s*+</a\s*+>)?", re.IGNORECASE)
# Services whose shortcodes may name what they show by its id.
SHOWS = {
    "dailymotion": (re.compile(r"x\w{4,}"), "https://www.dailymotion.com/video/{}"),
    "gist": (re.compile(r"[\w/-]*[0-9a-f]{5,}"), "https://gist.github.com/{}"),
    "tweet": (re.compile(r"\d{5,}"), "https://twitter.com/i/status/{}"),
    "vimeo": (re.compile(r"\d{3,}"), "https://vimeo.com/{}"),
    "youtube": (re.compile(r"[\w-]{11}"), "https://www.youtube.com/watch?v={}"),
}
OWN = frozenset(("caption", "wp_caption", "gallery", "audio", "video", "embed", "playlist"))  # WordPress's own names
PLAYERS = frozenset(
    (
        *("audio", "embed", "facebook", "flash", "flv", "googlemaps", "googlevideo", "iframe", "instagram"),
        *("playlist", "slideshare", "soundcloud", "spotify", "swf", "ted", "twitter", "video", "videopress"),
        *("wpvideo", *SHOWS),
    )
)
SOURCES = ("src", *sorted(SOUNDS | FILMS))  # attributes that hold an address, which may be relative
RELATIVE = re.compile(r"[^\s\"'<>:]*/[^\s\"'<>:]*")
NOT_PLAYED = frozenset(("poster", "image", "title", "caption"))
CAPTIONS = frozenset(("caption", "wp_caption"))


@dataclass(frozen=True)
class Attachment:
    """A file of the blog."""

    address: str
    caption: str

    def ends_with(self, endings: frozenset[str]) -> bool:
        return urlsplit(self.address).path.rpartition(".")[2].lower() in endings


class Replacements:
    """The replacements of known shortcodes in one post.

    Args:
        post_id: the blog's id of the post; a gallery without ids shows what was uploaded for it.
    """

    def __init__(self, attachments: Mapping[str, Attachment], uploads: Mapping[str, list[str]], post_id: str) -> None:
        self._attachments = attachments
        self._uploads = uploads
        self._post_id = post_id

    def __call__(self, code: Shortcode, content: str | None) -> str | None:
        """Return the HTML in place of a shortcode; None if it is to be left out."""
        if code.name in CAPTIONS:
            return _caption(code, content)
        if code.name == "gallery":
            return self._gallery(code)
        return self._player(code, content) if code.name in PLAYERS else None

    def _gallery(self, code: Shortcode) -> str | None:
        """Return the pictures of a gallery; None if the file has none of them."""
        pictures = self._files(code, PICTURES)
        return "".join(_figure(_picture(one), one.caption) for one in pictures) or None

    def _player(self, code: Shortcode, content: str | None) -> str | None:
        """Return links to all that it would play, before what stands in it for others; None if no address is given."""
        named, bare = code.arguments()
        given = [value for name, value in named.items() if name not in NOT_PLAYED] + bare
        addresses = [address for text in given for address in ADDRESS.findall(resolved(text))]
        if not addresses:
            addresses = [resolved(named[name]) for name in SOURCES if RELATIVE.fullmatch(named.get(name, ""))]
        inside = resolved(content or "").strip()
        if not addresses and ADDRESS.fullmatch(inside):
            return _links([inside])
        if not addresses and code.name in SHOWS:
            form, address = SHOWS[code.name]
            addresses = [address.format(one) for one in (named.get("id", ""), *bare, inside) if form.fullmatch(one)][:1]
            content = None if inside and addresses and addresses[0].endswith(inside) else content
        if not addresses and code.name in OWN and not inside:
            endings = FILMS if code.name == "video" or named.get("type") == "video" else SOUNDS
            addresses = [one.address for one in self._files(code, endings)] if code.name != "embed" else []
        return _links(addresses) + (content or "") if addresses else (inside and content) or None

    def _files(self, code: Shortcode, endings: frozenset[str]) -> list[Attachment]:
        """Return the named files, else those of these kinds that were uploaded for a post."""
        named, _ = code.arguments()
        wanted = _ids(named.get("ids") or named.get("include", ""))
        if not wanted:
            left_out = _ids(named.get("exclude", ""))
            wanted = [one for one in self._uploads.get(named.get("id", self._post_id), ()) if one not in left_out]
        found = [self._attachments[one] for one in wanted if one in self._attachments]
        return [one for one in found if one.ends_with(endings)]


def _ids(text: str) -> list[str]:
    return re.findall(r"\d+", text)


def _caption(code: Shortcode, content: str | None) -> str | None:
    """Return a figure: the picture, and as its caption the rest, or the attribute that older versions used."""
    caption = code.arguments()[0].get("caption", "")
    if content is None:
        return _figure("", caption) if caption else None
    picture = PICTURE.match(content)
    if picture is None:
        return _figure(content, caption)
    rest = content[picture.end() :].strip()
    return _figure(picture[0].strip(), f"{rest} {caption}".strip() if caption not in rest else rest)


def _figure(content: str, caption: str) -> str:
    shown = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f"\n<figure>{content}{shown}</figure>\n"


def _picture(one: Attachment) -> str:
    return f'<img src="{escape(one.address)}" alt="">'


def _links(addresses: list[str]) -> str:
    """Return links to the addresses, each once."""
    links = (f'<a href="{escape(one)}">{escape(one)}</a>' for one in dict.fromkeys(addresses))
    return " " + " ".join(links) + " "
