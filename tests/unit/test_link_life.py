"""How long a link to sign in lives is told in many places: each says the same, and is long enough for it."""

import re
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from services.contracts.people import LINK_LIFE, LINK_LIFE_WORDS, SIGN_IN_PERIOD
from services.contracts.problems import MEANINGS
from services.gateway.apidocs import texts
from services.gateway.languages import current
from services.gateway.pages.cookies import SIGN_IN_SECONDS
from services.gateway.pages.refusals import SENTENCES
from services.gateway.pages.render import ENVIRONMENT
from tests.sample_mails import SIGN_IN

MAIL = message_from_bytes(SIGN_IN.build("ana@example.com", "t" * 43, "r" * 22), policy=policy.default)
PARTS = {part.get_content_type(): part.get_content() for part in MAIL.iter_parts()}
TOLD = {
    "the meaning of the problem": MEANINGS["link-used-or-expired"],
    "the sentence on a page": SENTENCES["link-used-or-expired"],
    "the mail": PARTS["text/plain"],
    "its HTML part": PARTS["text/html"],
    "the page after asking": ENVIRONMENT.get_template("check_mail.html").render(
        viewer=None,
        request=None,
        refusal=None,
        code="",
        email="",
        registers=False,
        link_life=LINK_LIFE_WORDS,
        language=current(),
    ),
    "the guide": (Path(texts.__file__).parent.parent / "templates/docs_guide.html").read_text(),
    "the reference": re.sub(r'"\s+"', "", Path(texts.__file__).read_text()),
}


@pytest.mark.parametrize("place", TOLD)
def test_every_place_that_tells_the_life_of_a_link_tells_the_same(place: str) -> None:
    assert LINK_LIFE_WORDS in " ".join(TOLD[place].split())


def test_the_words_are_the_number() -> None:
    numbers = {5: "five", 10: "ten", 15: "fifteen", 20: "twenty", 30: "thirty"}
    assert f"{numbers[LINK_LIFE // timedelta(minutes=1)]} minutes" == LINK_LIFE_WORDS


def test_what_a_browser_keeps_while_somebody_signs_in_outlives_the_latest_link() -> None:
    assert timedelta(seconds=SIGN_IN_SECONDS) > SIGN_IN_PERIOD == 2 * LINK_LIFE
