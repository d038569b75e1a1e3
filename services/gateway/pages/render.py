"""Render templates: escaped by default, under a policy that lets no script run but our own."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import structlog
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem
from services.chassis.http.origins import Origin
from services.chassis.http.problems import of_exception
from services.contracts.characters import isolated
from services.contracts.faces import letter, tone
from services.contracts.links import comment_path, person_path, tag_path
from services.contracts.links import post_path as post_path
from services.contracts.people import is_author, is_moderator
from services.gateway.composition import representations
from services.gateway.composition.moved import Moved
from services.gateway.composition.navigation import Navigation
from services.gateway.composition.request_context import Json, RequestContext
from services.gateway.gateway import gateway_of
from services.gateway.languages import LANGUAGES, current, number
from services.gateway.pages.assets import STYLE_PATH, script_path
from services.gateway.pages.forms import Again, typed
from services.gateway.pages.refusals import Refusal
from services.gateway.pages.service_texts import detail_of, translated
from services.gateway.pages.site_files import SiteFiles, show_files
from services.gateway.pages.structured_data import discussion_data
from services.gateway.pages.templates_say import GLOBALS
from services.gateway.pages.thread import about, first_named, minutes_left, more_replies, outline
from services.gateway.pages.times import ago, hours_ago, moment, month, reading_minutes, time_element
from services.gateway.site import Site

log = structlog.get_logger(__name__)

MEDIA_TYPE = "text/html; charset=utf-8"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "img-src 'self' https: http: data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    # `no-referrer` would make browsers send `Origin: null` with our own forms; other sites get nothing either way.
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
VARY = "Accept-Language, Cookie"  # the language, and who is signed in

ENVIRONMENT = Environment(
    loader=PackageLoader("services.gateway", "templates"),
    autoescape=True,
    auto_reload=False,  # no look at the files for each page
    undefined=StrictUndefined,
    extensions=["jinja2.ext.i18n"],
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.filters |= {
    "isolated": isolated,
    "moment": moment,
    "ago": ago,
    "hours_ago": hours_ago,
    "outline": outline,
    "tone": tone,
    "letter": letter,
}
ENVIRONMENT.filters |= {
    "translated": translated,
    "detail_of": detail_of,
    "first_named": first_named,
    "more_replies": more_replies,
    "minutes_left": minutes_left,
    "about": about,
    "time_element": time_element,
}
ENVIRONMENT.filters |= {"tag_path": tag_path, "person_path": person_path, "month": month, "number": number}
ENVIRONMENT.filters |= {"reading_minutes": reading_minutes}
ENVIRONMENT.filters |= {"comment_path": comment_path, "path": post_path, "discussion_data": discussion_data}
ENVIRONMENT.policies["ext.i18n.trimmed"] = True
ENVIRONMENT.newstyle_gettext = True  # type: ignore[attr-defined]  # of the extension
ENVIRONMENT.globals |= GLOBALS | {"languages": LANGUAGES}
ENVIRONMENT.globals["style"] = STYLE_PATH
ENVIRONMENT.globals["script"] = script_path


def show_site(site: Site, navigation: Navigation | None = None) -> None:
    """Let every page say whose site this is, and lead to its pages: a process shows one site."""
    files = SiteFiles.of(site)
    show_files(files)
    ENVIRONMENT.globals |= {"site": site, "site_files": files, "navigation": navigation or Navigation()}


show_site(Site())


def shown_site() -> Site:
    """Return the site that pages show."""
    site = ENVIRONMENT.globals["site"]
    assert isinstance(site, Site)
    return site


def page(
    template: str,
    *,
    status: int = 200,
    viewer: Json | None = None,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> Response:
    """Return a page; `viewer` is the author shown as signed in."""
    text = ENVIRONMENT.get_template(template).render(viewer=viewer, language=current(), **values)
    spoken = {"Content-Language": current().code, "Vary": VARY}
    return Response(text.encode(), status, HEADERS | spoken | dict(headers or {}), MEDIA_TYPE)


def redirect(path: str, headers: dict[str, str] | None = None) -> Response:
    """Return a redirect to a GET of that path."""
    return Response(None, 303, {"Location": path, "Cache-Control": "no-store"} | (headers or {}))


def problem_page(problem: Problem, back: str = "/") -> Response:
    """Return a problem as a page, with a way back to another."""
    return page("problem.html", status=problem.status, headers=problem.headers, problem=problem, back=back)


def refused_page(refusal: Refusal, back: str) -> Response:
    """Return a page that says why a form was refused of which nothing can be shown, with a way back to it."""
    if refusal.wants_sign_in:
        return problem_page(Problem(refusal.kind), "/sign-in")
    return page("refused.html", status=refusal.status, headers=refusal.headers, refusal=refusal, back=back)


async def viewer_author(context: RequestContext) -> Json | None:
    """Return the viewer as an author, for the head of a page, with what waits for them and what their roles offer."""
    person_id = context.viewer.person_id
    if person_id is None:
        return None
    found, waiting = await asyncio.gather(
        context.authors_of([str(person_id)]),
        context.attention.of(context.upstreams, context.viewer.caller, context.deadline),
    )
    author = representations.author(str(person_id), found) or {}
    roles = context.viewer.caller.roles
    return author | waiting | {"can_write": is_author(roles), "can_moderate": is_moderator(roles)}


class PageRoute(APIRoute):
    """A route that answers problems as pages; a refused form comes back, see `forms.gives_back`.

    A slug that a post had before leads to the present one (301).
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        again: Again | None = getattr(self.endpoint, "again", None)

        async def answer_as_page(request: Request) -> Response:
            gateway = gateway_of(request)
            await gateway.navigation.refresh(gateway.upstreams)
            try:
                response = await handle(request)
            except Moved as moved:
                return moved.redirect(request, 301)
            except Exception as error:
                problem = of_exception(error)
                if again is None:
                    return problem_page(problem, "/sign-in" if problem.kind == "sign-in-required" else "/")
                fields = await typed(request, self.endpoint.__dict__["most_given_back"])
                return await again(request, fields, Refusal.of(problem, unread=not fields))
            return led_home(request, response)

        return answer_as_page


def led_home(request: Request, response: Response) -> Response:
    """Return a redirect to our own origin for a page that was opened by another name of this machine.

    Forms are taken at our own origin only. Nothing but names of this machine is led: a proxy that writes `Host` anew
    would send the browser round in circles.
    """
    origin, host = gateway_of(request).settings.origin, request.headers.get("host", "")
    if request.method != "GET" or origin.endswith(f"://{host}") or response.media_type != MEDIA_TYPE:
        return response
    own = Origin.parse(origin)
    try:
        opened = Origin.of(own.scheme, host)
    except ValueError:
        return response
    if opened == own or opened.port != own.port or not (opened.is_loopback and own.is_loopback):
        return response
    path, query = request.scope["raw_path"].decode("ascii"), request.scope["query_string"].decode("ascii")
    location = f"{origin}{path}" + (f"?{query}" if query else "")
    return Response(None, 307, {"Location": location, "Cache-Control": "no-store"})
