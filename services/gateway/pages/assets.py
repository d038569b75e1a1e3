"""Serve style sheets and scripts under addresses that change with their contents, so that browsers keep them for ever.

Scripts are ES modules in `static/*.js`. They import each other by relative addresses; therefore all of them stand below
one address, made from the contents of all.
"""

import hashlib
from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import Response

from services.chassis.errors import not_found

KEPT = {"Cache-Control": "public, max-age=31536000, immutable"}
STATIC = files("services.gateway") / "static"
STYLE = (STATIC / "rapport.css").read_bytes()
SCRIPTS = {
    file.name.removesuffix(".js"): file.read_bytes()
    for file in sorted(STATIC.iterdir(), key=lambda file: file.name)
    if file.name.endswith(".js")
}


def digest_of(content: bytes) -> str:
    """Return what tells an address of this content from those of others."""
    return hashlib.sha256(content).hexdigest()[:12]


STYLE_PATH = f"/static/rapport-{digest_of(STYLE)}.css"
SCRIPTS_PATH = f"/static/scripts-{digest_of(b''.join(SCRIPTS.values()))}"

router = APIRouter(include_in_schema=False)


def script_path(name: str) -> str:
    """Return the address of a module.

    Raises:
        KeyError: there is no such module.
    """
    SCRIPTS[name]
    return f"{SCRIPTS_PATH}/{name}.js"


@router.get(STYLE_PATH)
async def style() -> Response:
    return Response(STYLE, 200, KEPT, "text/css; charset=utf-8")


@router.get(SCRIPTS_PATH + "/{name}.js")
async def script(name: str) -> Response:
    if name not in SCRIPTS:
        raise not_found()
    return Response(SCRIPTS[name], 200, KEPT, "text/javascript; charset=utf-8")
