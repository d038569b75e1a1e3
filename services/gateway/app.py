"""Put the gateway's routes and layers together."""

from starlette.middleware import Middleware

from services.chassis.http import app as chassis
from services.chassis.http.monitoring import Ready
from services.chassis.http.origins import Origin
from services.gateway.api import comments, images, notifications, people, posts, preview, sessions, site, tags
from services.gateway.caching.middleware import CacheMiddleware
from services.gateway.caching.readers import Readers
from services.gateway.gateway import Gateway
from services.gateway.language_choice import LanguageMiddleware
from services.gateway.languages import LANGUAGES
from services.gateway.pages import (
    about_feeds,
    assets,
    changes,
    comment,
    docs,
    feeds,
    following,
    front,
    language,
    mail_choices,
    mine,
    moderate,
    my_mail,
    my_picture,
    my_posts,
    my_sessions,
    own_comment,
    person,
    pictures,
    post,
    problems,
    sign_in,
    site_files,
    site_pages,
    unmatched,
    unsubscribe,
    write,
)
from services.gateway.pages import (
    tags as tag_pages,
)
from services.gateway.pages.old_addresses import OldAddresses
from services.gateway.pages.render import show_site
from services.gateway.response_headers import ResponseHeaders
from services.gateway.write_path import WritePath

ROUTERS = (
    comments.router,  # first: routes are tried in this order, and most writes are comments
    posts.router,
    images.router,
    tags.router,
    preview.router,
    people.router,
    sessions.router,
    notifications.router,
    notifications.following,
    site.router,
    assets.router,
    site_files.router,
    front.router,
    post.router,
    tag_pages.router,
    person.router,
    changes.router,
    comment.router,
    own_comment.router,
    following.router,
    pictures.router,
    sign_in.router,
    unsubscribe.router,
    mail_choices.router,
    mine.router,
    my_mail.router,
    my_picture.router,
    my_sessions.router,
    write.router,
    my_posts.router,
    moderate.router,
    feeds.router,
    about_feeds.router,
    site_pages.router,
    language.router,
    problems.router,
    docs.router,
)


def create_app(gateway: Gateway, ready: Ready) -> CacheMiddleware:
    """Return the app over these parts: FastAPI's, inside `ResponseHeaders`, inside the language, inside the cache.

    Writes of the API go past most of this (`write_path.py`).
    """
    app = chassis.create_app("gateway", verifier=None, ready=ready, refuse=unmatched.refuse)
    app.state.gateway = gateway
    show_site(gateway.site, gateway.navigation)
    app.user_middleware.append(Middleware(OldAddresses))  # innermost
    for router in ROUTERS:
        app.include_router(router)
    origin = Origin.parse(gateway.settings.origin)
    host = str(origin).partition("://")[2].encode() if origin.is_loopback else None
    responses = ResponseHeaders(app, https_only=gateway.settings.secure)
    default = LANGUAGES[gateway.settings.site_language]
    spoken = LanguageMiddleware(responses, default)
    readers = Readers(
        gateway.authentication,
        gateway.recent_writers,
        gateway.own_comments,
        gateway.upstreams,
        gateway.settings.read_deadline_seconds,
    )
    writes = WritePath(spoken, app, responses, unmatched.refuse, gateway.recent_writers)
    return CacheMiddleware(spoken, gateway.cache, gateway.settings.cookie_name, host, default, readers, writes)
