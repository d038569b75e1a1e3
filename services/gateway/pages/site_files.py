"""Serve what a site has of its own: its mark and its theme, under addresses that change with their contents."""

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import APIRouter
from starlette.responses import Response

from services.chassis.errors import not_found
from services.contracts.colours import HUE
from services.gateway.pages.assets import KEPT, digest_of
from services.gateway.pages.letter_mark import letter_mark
from services.gateway.site import ENDINGS, SVG, File, Site

router = APIRouter(include_in_schema=False)

# Opened by itself, a picture is nothing but a picture: scripts in an SVG do not run.
HEADERS = KEPT | {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


@dataclass(frozen=True)
class SiteFiles:
    """The files of one site.

    Attributes:
        icon, theme: their paths; without a picture of the site the icon is a letter, without a theme there is no second
            style sheet.
        served: the file at each path.
    """

    icon: str
    theme: str | None
    served: Mapping[str, File]

    @classmethod
    def of(cls, site: Site) -> "SiteFiles":
        """Return the files of a site."""
        mark = site.picture or File(letter_mark(site.name, HUE if site.hue is None else site.hue), SVG)
        served = {mark.path: mark}
        theme = f"/static/theme-{digest_of(site.theme)}.css" if site.theme else None
        if theme is not None:
            served[theme] = File(site.theme, "text/css; charset=utf-8")
        return cls(mark.path, theme, served)


_shown = SiteFiles.of(Site())


def show_files(files: SiteFiles) -> None:
    """Serve the files of this site: a process shows one."""
    global _shown
    _shown = files


@router.get("/static/mark-{name}")
@router.get("/static/theme-{name}")
async def file(name: str) -> Response:
    found = _shown.served.get(f"/static/mark-{name}") or _shown.served.get(f"/static/theme-{name}")
    if found is None:
        raise not_found()
    content, media_type = found
    return Response(content, 200, HEADERS if media_type in ENDINGS else KEPT, media_type)


@router.get("/favicon.ico")
async def favicon() -> Response:
    """Serve the mark to those who do not read where a page says it is."""
    content, media_type = _shown.served[_shown.icon]
    return Response(content, 200, HEADERS | {"Cache-Control": "public, max-age=3600"}, media_type)
