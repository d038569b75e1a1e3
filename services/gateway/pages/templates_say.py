"""Translate the texts of templates: `_("…")`, `{% trans %}` and their like, as `jinja2.ext.i18n` calls them.

The extension's own functions would do the same, but take a multiple of the time, and a page says hundreds of texts.
"""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup, escape

from services.gateway import languages
from services.gateway.languages import localised


def gettext(message: str, /, **values: Any) -> Markup:
    """Return a message as HTML, its values escaped; `%%` is one percent sign."""
    return _filled(languages.gettext(message), values)


def ngettext(singular: str, plural: str, num: int, /, **values: Any) -> Markup:
    """Return a message as HTML in the plural form for a number, which is `%(num)s` in it."""
    return _filled(languages.current().texts.ngettext(singular, plural, num), {"num": num, **values})


def pgettext(context: str, message: str, /, **values: Any) -> Markup:
    """Return a message that means different things in different places as HTML."""
    return _filled(languages.pgettext(context, message), values)


def npgettext(context: str, singular: str, plural: str, num: int, /, **values: Any) -> Markup:
    """Return a message that means different things in different places as HTML, in the plural form for a number."""
    return _filled(languages.current().texts.npgettext(context, singular, plural, num), {"num": num, **values})


def _filled(text: str, values: Mapping[str, Any]) -> Markup:
    if not values and "%" not in text:
        return Markup(text)  # noqa: S704  # ours, or of its translator
    return Markup(text % {name: escape(value) for name, value in localised(values).items()})  # noqa: S704


GLOBALS = {"_": gettext, "gettext": gettext, "ngettext": ngettext, "pgettext": pgettext, "npgettext": npgettext}
