"""Style sheets and scripts: kept for ever, small, and complete."""

import gzip
import re
from importlib.resources import files

import pytest

from services.gateway.pages.assets import SCRIPTS, SCRIPTS_PATH, STYLE_PATH, script_path
from tests.integration.gateway_harness import GatewayHarness

TEMPLATES = files("services.gateway") / "templates"
MOST = 15_000  # bytes of one page's scripts, compressed


def imports(name: str) -> set[str]:
    """Return the modules that a module imports, each from the same folder."""
    named = re.findall(r"""(?:from|import)\s*\(?\s*["']([^"']+)["']""", SCRIPTS[name].decode())
    assert all(re.fullmatch(r"\./[a-z_]+\.js", one) for one in named), (name, named)
    return {one[2:-3] for one in named}


def loaded(name: str) -> set[str]:
    """Return a module and all that it imports, and what these import."""
    found, waiting = {name}, [name]
    while waiting:
        more = imports(waiting.pop()) - found
        found |= more
        waiting.extend(more)
    return found


async def test_assets_are_kept_for_ever(harness: GatewayHarness) -> None:
    kinds = {STYLE_PATH: "text/css; charset=utf-8"}
    kinds |= {script_path(name): "text/javascript; charset=utf-8" for name in SCRIPTS}
    for path, kind in kinds.items():
        answer = await harness.http.get(path)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, kind)
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert (await harness.http.get(f"{SCRIPTS_PATH}/nothing.js")).status_code == 404
    with pytest.raises(KeyError):
        script_path("nothing")


def test_no_page_has_more_than_a_little_script() -> None:
    for template in (file for file in TEMPLATES.iterdir() if file.name.endswith(".html")):
        named = re.findall(r"""script\(["'](\w+)["']\)""", template.read_text())
        modules = {module for name in named for module in loaded(name)}
        assert sum(len(gzip.compress(SCRIPTS[module])) for module in modules) <= MOST, template.name
