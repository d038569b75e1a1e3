"""The gateway's app: routes and layers put together."""

from starlette.types import ASGIApp

from services.chassis.http.app import create_app
from services.chassis.http.monitoring import Ready
from services.gateway.api import comments, notifications, people, posts, sessions
from services.gateway.caching.middleware import CacheMiddleware
from services.gateway.gateway import Gateway
from services.gateway.pages import docs, front, post, problems, sign_in, unsubscribe
from services.gateway.response_headers import ResponseHeaders

ROUTERS = (
    comments.router,  # first: routes are tried in this order, and most writes are comments
    posts.router,
    people.router,
    sessions.router,
    notifications.router,
    front.router,
    post.router,
    sign_in.router,
    unsubscribe.router,
    problems.router,
    docs.router,
)


def build(gateway: Gateway, ready: Ready) -> ASGIApp:
    """The app over these parts. The outer layers stand around FastAPI's own, which what is cached need not pass."""
    app = create_app("gateway", verifier=None, ready=ready)
    app.state.gateway = gateway
    for router in ROUTERS:
        app.include_router(router)
    return CacheMiddleware(ResponseHeaders(app), gateway.cache, gateway.settings.cookie_name)
