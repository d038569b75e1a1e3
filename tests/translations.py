"""Extract the messages of the pages, and bring the files of their translations up to date.

python -m tests.translations            # extract, update, and say what is left to translate
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_file
from babel.messages.pofile import read_po, write_po

from services.gateway.languages import LANGUAGES, SOURCE

GATEWAY = Path(__file__).parents[1] / "services" / "gateway"
FOLDER = GATEWAY / "translations"
KEYWORDS = {
    "_": None,
    "N_": None,
    "gettext": None,
    "ngettext": (1, 2),
    "pgettext": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
}
# of templates: as `pages.render` reads them
OPTIONS = {
    "trimmed": "true",
    "trim_blocks": "true",
    "lstrip_blocks": "true",
    "newstyle_gettext": "true",
    "silent": "false",
}
ALWAYS = datetime(2026, 11, 27, tzinfo=UTC)  # files change with their messages alone
HEADER = "# Translations of Rapport's pages: PROJECT.\n# `make translations` adds what is new; then translate it here."


def extracted() -> Catalog:
    """Return a catalogue of all messages, in the order of their files and lines."""
    catalog = Catalog(project="Rapport", charset="utf-8", creation_date=ALWAYS)
    sources: list[tuple[Path, str, dict[str, str]]]
    sources = [(path, "python", {}) for path in sorted(GATEWAY.rglob("*.py")) if path.name != "languages.py"]
    sources += [(path, "jinja2.ext:babel_extract", OPTIONS) for path in sorted(GATEWAY.rglob("templates/**/*.html"))]
    for path, method, options in sources:
        name = str(path.relative_to(GATEWAY))
        for line, message, comments, context in extract_from_file(method, path, KEYWORDS, ["Translators:"], options):
            catalog.add(message, locations=[(name, line)], auto_comments=comments, context=context)
    return catalog


def translations(code: str) -> Catalog:
    """Return the catalogue of a language, as its file is."""
    path = FOLDER / f"{code}.po"
    if not path.exists():
        return Catalog(locale=code)
    with path.open("rb") as file:
        return read_po(file, locale=code)


def update(code: str) -> Catalog:
    """Write what is new into the file of a language, leave out what is not said any more, and return the rest."""
    catalog = translations(code)
    catalog.update(extracted(), no_fuzzy_matching=True)
    catalog.obsolete.clear()
    catalog.header_comment = HEADER.replace("PROJECT", LANGUAGES[code].name)
    catalog.fuzzy = False
    catalog.revision_date = ALWAYS
    with (FOLDER / f"{code}.po").open("wb") as file:
        write_po(file, catalog, width=120, include_lineno=False, ignore_obsolete=True)
    return catalog


def missing(catalog: Catalog) -> Iterator[Message]:
    """Yield the messages that have no translation, or one that somebody should look at."""
    for message in catalog:
        texts = [message.string] if isinstance(message.string, str) else list(message.string or [""])
        if message.id and (message.fuzzy or not all(texts)):
            yield message


if __name__ == "__main__":
    for code in LANGUAGES:
        if code != SOURCE:
            left = [str(message.id) for message in missing(update(code))]
            print(f"{code}: {len(left)} to translate", *left, sep="\n  ")
