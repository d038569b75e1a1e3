"""Everything that pages say is marked for translation, and translated whole into every language."""

import re
import string
from collections.abc import Iterator
from gettext import c2py
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message

from services.contracts.problems import KINDS
from services.gateway.languages import LANGUAGES, N_, SOURCE, gettext, ngettext, number, pgettext, speaking
from services.gateway.pages.service_texts import SAID, translated
from services.notify import explanations
from services.notify.domain import Reason
from tests.translations import GATEWAY, extracted, missing, translations
from tests.unmarked import of_module, of_script, of_template

TRANSLATED = [code for code in LANGUAGES if code != SOURCE]
# the documentation of the API, for developers, is in English as its names are; its pages say so (`lang`)
IN_ENGLISH = ("docs", "problem_kinds", "reference", "problems", "atom")
TEMPLATES = sorted(path for path in GATEWAY.rglob("templates/**/*.html") if not path.name.startswith(IN_ENGLISH))
MODULES = sorted(path for path in (GATEWAY / "pages").glob("*.py") if not path.name.startswith(IN_ENGLISH))
SCRIPTS = sorted((GATEWAY / "static").glob("*.js"))
PLACEHOLDER = re.compile(r"%\(\w+\)s|%%|\{\w+\}")
WRONG_PLACEHOLDER = re.compile(r"%(?!\(\w+\)s|%)")  # numbers are written by their language, so they are texts
MARKUP = re.compile(r"</?\w+[^>]*>")


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(GATEWAY / "templates")))
def test_a_template_says_nothing_unmarked(path: Path) -> None:
    assert of_template(path.read_text()) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_module_says_nothing_unmarked(path: Path) -> None:
    assert of_module(path.read_text()) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_says_nothing_but_what_its_page_has_for_it(path: Path) -> None:
    assert of_script(path.read_text()) == []
    assert of_script('note.textContent = "Saving …"; say(`Saved at ${time}.`); // not "This one here."') == [
        "Saving …", "Saved at ${time}."
    ]  # fmt: skip


@pytest.mark.parametrize(
    "template",
    [
        "<p>Nothing here</p>",
        '<nav aria-label="More">',
        '<p>{{ "edited" if post.edited_at }}</p>',
        '<p>{{ post.title or "Untitled" }}</p>',
        '{% for value, words in [("off", "Not at all")] %}<b>{{ words }}</b>{% endfor %}',
        '{{ error("Not that way") }}',
        '<button data-sending="Sending…">{{ _("Send") }}</button>',
        '<h1>{{ {"a": "one"}.get(x, "two") }}</h1>',
    ],
)
def test_an_unmarked_text_of_a_template_is_found(template: str) -> None:
    assert of_template(template)


@pytest.mark.parametrize(
    "template",
    [
        '<p class="note" id="x">{{ _("Nothing here") }}</p>',
        '<nav aria-label="{{ pgettext("list", "More") }}">',
        '<input{{ " checked" if chosen }}{{ \' aria-invalid="true"\' | safe if wrong }}>',
        "{% trans name=post.title %}By <b>{{ name }}</b>{% endtrans %} · {{ post.body_html | safe }}",
        '{% if form.refusal.kind == "Not that way" %}{{ ngettext("%(num)s reply", "%(num)s replies", n) }}{% endif %}',
    ],
)
def test_what_is_marked_or_not_said_is_not_found(template: str) -> None:
    assert of_template(template) == []


@pytest.mark.parametrize(
    "module",
    [
        'SAVED = {"name": "Your name is stored."}',
        'raise invalid("x", "must be one of these")',
        'f"It took {n} seconds"',
    ],
)
def test_an_unmarked_text_of_a_module_is_found(module: str) -> None:
    assert of_module(module)


@pytest.mark.parametrize("code", TRANSLATED)
def test_every_message_is_translated_and_nothing_else_is(code: str) -> None:
    catalog = translations(code)
    assert [message.id for message in missing(catalog)] == []
    assert ids(catalog) == ids(extracted()), "run `make translations`"


def test_a_fuzzy_translation_counts_as_missing() -> None:
    catalog = Catalog(locale="de")
    catalog.add("Save", "Speichern", flags=["fuzzy"])
    catalog.add("Send", "Senden")
    catalog.add(("%(num)s day", "%(num)s days"), ("%(num)s Tag", ""))
    assert [message.id for message in missing(catalog)] == ["Save", ("%(num)s day", "%(num)s days")]


@pytest.mark.parametrize("code", TRANSLATED)
def test_translations_keep_placeholders_and_markup(code: str) -> None:
    for message, source, text, is_for_one_number in texts_of(translations(code)):
        wanted, found = sorted(PLACEHOLDER.findall(source)), sorted(PLACEHOLDER.findall(text))
        if is_for_one_number and "%(num)s" not in found:  # "one comment", "two comments" in a word
            wanted = [one for one in wanted if one != "%(num)s"]
        assert set(found) == set(wanted), message.id
        assert not WRONG_PLACEHOLDER.search(source + text) or "%" not in "".join(wanted), message.id
        assert sorted(MARKUP.findall(text)) == sorted(MARKUP.findall(source)), message.id
        assert (text[:1].isspace(), text[-1:].isspace()) == (source[:1].isspace(), source[-1:].isspace()), message.id


def texts_of(catalog: Catalog) -> Iterator[tuple[Message, str, str, bool]]:
    """Yield each translation with what it translates, and whether it is the plural form of one number alone."""
    for message in catalog:
        if not message.id:
            continue
        if isinstance(message.id, str):
            yield message, message.id, str(message.string), False
            continue
        form_of = c2py(catalog.plural_expr)
        used = [form_of(count) for count in range(1_000)]
        for form, text in enumerate(message.string or ()):
            yield message, message.id[1], text, used.count(form) == 1


def ids(catalog: Catalog) -> set[tuple[str | None, object]]:
    return {(message.context, message.id) for message in catalog if message.id}


def test_numbers_and_plurals_are_those_of_each_language() -> None:
    said = {}
    for code in LANGUAGES:
        with speaking(LANGUAGES[code]):
            said[code] = [ngettext("%(num)s comment", "%(num)s comments", n) for n in (0, 1, 2, 3, 11, 100, 12_345)]
    assert said["en"][1:3] + said["en"][-1:] == ["1 comment", "2 comments", "12,345 comments"]
    assert said["de"][-1] == "12.345 Kommentare"
    assert len({re.sub(r"[\d,]+ ?", "", text) for text in said["ar"]}) == 6
    with speaking(LANGUAGES["de"]):
        assert number(1_000_000) == "1.000.000"


def test_a_message_says_different_things_in_different_places() -> None:
    with speaking(LANGUAGES["de"]):
        assert pgettext("verb", "Comment") == "Kommentieren"
        assert gettext(N_("Sign in")) == "Anmelden"


@pytest.mark.parametrize("code", TRANSLATED)
def test_what_services_say_is_said_in_every_language(code: str) -> None:
    reasons = tuple(reason.value for reason in Reason)
    told = [explanations.in_words(state, why, reasons)
            for state in explanations.STATE_TEXTS for why in explanations.WHY_TEXTS]  # fmt: skip
    told += [explanations.moderation_in_words(state, why)
             for state in explanations.MODERATION_TEXTS for why in explanations.WHY_TEXTS]  # fmt: skip
    told += [f"{kind.title}." for kind in KINDS.values()] + ["must have at most 10,000 characters"]
    with speaking(LANGUAGES[code]):
        for text in told:
            assert not {*words(translated(text))} & {"the", "is", "because", "must", "mail"}, text
        assert translated("A text of a newer version.") == "A text of a newer version."
    assert translated(told[0]) == told[0]


def words(text: str) -> list[str]:
    return [word.strip(string.punctuation).lower() for word in text.split()]


def test_values_of_a_text_of_services_are_kept() -> None:
    with speaking(LANGUAGES["de"]):
        assert translated("must have at most 60,000 characters") == "darf höchstens 60.000 Zeichen haben"
        assert translated("The picture has no pixels.") == "Das Bild hat keine Bildpunkte."
    assert len(SAID) == len(set(SAID))
