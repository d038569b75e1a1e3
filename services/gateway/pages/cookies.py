"""Cookies of our pages beside the session: what a browser keeps while somebody signs in."""

from datetime import timedelta

from services.contracts.people import SIGN_IN_PERIOD
from services.gateway.language_choice import COOKIE as LANGUAGE
from services.gateway.settings import GatewaySettings

SIGN_IN_SECONDS = int((SIGN_IN_PERIOD + timedelta(minutes=10)).total_seconds())  # also for typing an address
BACK = "rapport_back"
DRAFT = "rapport_draft"
DRAFT_PATH = "/draft"
STORED = "rapport_stored"
STORED_SECONDS = 30 * 86_400
LANGUAGE_SECONDS = 365 * 86_400


def attributes(settings: GatewaySettings, seconds: int) -> str:
    """Return the attributes of a cookie of our pages."""
    return f"Max-Age={seconds}; HttpOnly; SameSite=Lax" + ("; Secure" if settings.secure else "")


def back(settings: GatewaySettings, path: str) -> str:
    """Return the cookie that keeps where signing in leads back to; an empty path ends it."""
    return f"{BACK}={path}; Path=/sign-in; {attributes(settings, SIGN_IN_SECONDS if path else 0)}"


def draft(settings: GatewaySettings, value: str) -> str:
    """Return the cookie that keeps a text while its author signs in; an empty value ends it."""
    return f"{DRAFT}={value}; Path={DRAFT_PATH}; {attributes(settings, SIGN_IN_SECONDS if value else 0)}"


def stored(settings: GatewaySettings, key: str) -> str:
    """Return the cookie that tells scripts of ours that the form with this key was stored, so that a copy may go."""
    secure = "; Secure" if settings.secure else ""
    return f"{STORED}={key}; Path=/write; Max-Age={STORED_SECONDS}; SameSite=Lax{secure}"


def language(settings: GatewaySettings, code: str) -> str:
    """Return the cookie that keeps the language of the pages."""
    return f"{LANGUAGE}={code}; Path=/; {attributes(settings, LANGUAGE_SECONDS)}"
