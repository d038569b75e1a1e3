"""Say what our pages say in the language of who reads them: texts by gettext, numbers, dates and plurals by CLDR.

    gettext("That was too often.")
    ngettext("%(num)s comment", "%(num)s comments", count)

Messages are written in English and looked up in `translations/*.po`. Numbers among the values are written as the
language writes them. The language is that of the running request, see `language_choice`.
"""

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property, lru_cache
from gettext import GNUTranslations, NullTranslations
from importlib.resources import files
from io import BytesIO
from typing import Any

from babel import Locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

TRANSLATIONS = files("services.gateway") / "translations"
SOURCE = "en"  # in which messages are written


@dataclass(frozen=True)
class Language:
    """A language of our pages.

    Attributes:
        code: BCP 47, as in `lang` and `Content-Language`.
        name: in the language itself.
        territory: whose dates and numbers are written, where that matters.
    """

    code: str
    name: str
    territory: str | None = None

    @cached_property
    def locale(self) -> Locale:
        """What CLDR says of the language."""
        return Locale(self.code, self.territory)

    @property
    def direction(self) -> str:
        """`ltr` or `rtl`."""
        direction: str = self.locale.text_direction
        return direction

    @cached_property
    def texts(self) -> NullTranslations:
        """The translations, compiled from their file when they are first asked for: users have no build step."""
        if self.code == SOURCE:
            return NullTranslations()
        with (TRANSLATIONS / f"{self.code}.po").open("rb") as file:
            catalog = read_po(file, locale=self.code)
        compiled = BytesIO()
        write_mo(compiled, catalog)
        compiled.seek(0)
        return GNUTranslations(compiled)


LANGUAGES: Mapping[str, Language] = {
    language.code: language
    for language in (Language("en", "English", "GB"), Language("de", "Deutsch"), Language("ar", "العربية"))
}

_current: ContextVar[Language] = ContextVar("language", default=LANGUAGES[SOURCE])  # frozen


def current() -> Language:
    """Return the language of the running request."""
    return _current.get()


@contextlib.contextmanager
def speaking(language: Language) -> Iterator[None]:
    """Set the language inside the block."""
    token = _current.set(language)
    try:
        yield
    finally:
        _current.reset(token)


def N_(message: str) -> str:
    """Mark a message of a table for translation, and return it; `gettext` translates it where it is said."""
    return message


def gettext(message: str, **values: Any) -> str:
    """Return a message in the reader's language, with these values."""
    text = _current.get().texts.gettext(message)
    return text % localised(values) if values else text


def ngettext(singular: str, plural: str, num: int, **values: Any) -> str:
    """Return a message in the plural form that the reader's language has for a number, which is `%(num)s` in it."""
    text = _current.get().texts.ngettext(singular, plural, num)
    return text % localised({"num": num, **values})


def pgettext(context: str, message: str, **values: Any) -> str:
    """Return a message that means different things in different places."""
    text = _current.get().texts.pgettext(context, message)
    return text % localised(values) if values else text


def npgettext(context: str, singular: str, plural: str, num: int, **values: Any) -> str:
    """Return a message that means different things in different places, in the plural form for a number."""
    text = _current.get().texts.npgettext(context, singular, plural, num)
    return text % localised({"num": num, **values})


def localised(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with their whole numbers as the reader's language writes them."""
    return {name: number(value) if type(value) is int else value for name, value in values.items()}


def said(messages: Mapping[str, str], key: str | None) -> str | None:
    """Return one of a table's messages in the reader's language, if there is one under that key."""
    return gettext(messages[key]) if key is not None and key in messages else None


def number(value: int) -> str:
    """Return a whole number as the reader's language writes it."""
    return _number(_current.get(), value)


@lru_cache(4_096)
def _number(language: Language, value: int) -> str:
    written: str = format_decimal(value, locale=language.locale, numbering_system="default")
    return written
