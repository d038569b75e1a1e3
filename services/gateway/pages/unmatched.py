"""Answer requests that no route answers: with problem details under `/v1`, for people everywhere else."""

from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import Problem
from services.chassis.http.fast_path import RouteTable
from services.chassis.http.problems import render
from services.gateway.languages import N_
from services.gateway.pages.render import problem_page, redirect

FORM_PAGES = {"/register": "/sign-in"}  # where the form is not on the page above its target


def refuse(request: Request, problem: Problem) -> Response:
    """Return the answer to an unknown address, or to a method that an address does not take."""
    path: str = request.scope["path"]
    if path == "/v1" or path.startswith("/v1/"):
        return render(problem)
    routes: RouteTable = request.app.routes_table
    if problem.kind == "not-found" and request.method == "GET":
        location = without_slash(request, routes)
        if location is not None:
            return Response(None, 301, {"Location": location, "Cache-Control": "no-store"})
    if problem.kind == "method-not-allowed":
        if request.method in ("GET", "HEAD"):
            return redirect(form_page(request, routes))
        detail = N_("There is no page at this address; a form is sent to it.")
        problem = Problem(problem.kind, detail, headers=problem.headers)
    return problem_page(problem, back=nearest_page(path, routes))


def form_page(request: Request, routes: RouteTable) -> str:
    """Return the page with the form that is sent to an address, at the place that the address names.

    Browsers ask for such an address where somebody reloads or shares the answer to a form.
    """
    path: str = request.scope["path"]
    page = FORM_PAGES.get(path) or nearest_page(path, routes)
    query = request.scope["query_string"].decode("ascii", "ignore")
    return f"{page}?{query}" if query and page != "/" else page


def without_slash(request: Request, routes: RouteTable) -> str | None:
    """Return the same address without slashes at its end, if there is a page; never one that names another host."""
    raw: bytes = request.scope["raw_path"]
    path = raw.rstrip(b"/").decode("ascii")
    if not raw.endswith(b"/") or path.startswith("//") or not routes.reads(unquote(path)):
        return None
    query = request.scope["query_string"].decode("ascii")
    return f"{path}?{query}" if query else path


def nearest_page(path: str, routes: RouteTable) -> str:
    """Return the page above an address, such as the post of a form's target."""
    above = path.rpartition("/")[0]
    while above and not routes.reads(above):
        above = above.rpartition("/")[0]
    return quote(above) if above and not above.startswith("//") else "/"
