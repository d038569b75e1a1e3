"""Put the gateway's routes and layers together."""

from starlette.middleware import Middleware
from starlette.types import ASGIApp

from services.chassis.http import app as chassis
from services.chassis.http.monitoring import Ready
from services.gateway.api import comments, notifications, people, posts, sessions
from services.gateway.caching.middleware import CacheMiddleware
from services.gateway.gateway import Gateway
from services.gateway.pages import docs, front, post, problems, sign_in, unsubscribe
from services.gateway.pages.old_addresses import OldAddresses
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


def create_app(gateway: Gateway, ready: Ready) -> ASGIApp:
    """Return the app over these parts: FastAPI's, inside `ResponseHeaders`, inside the cache."""
    app = chassis.create_app("gateway", verifier=None, ready=ready)
    app.state.gateway = gateway
    app.user_middleware.append(Middleware(OldAddresses))  # innermost
    for router in ROUTERS:
        app.include_router(router)
    return CacheMiddleware(ResponseHeaders(app), gateway.cache, gateway.settings.cookie_name)
