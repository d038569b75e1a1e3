"""NFC in linear time, and the same as that of Python."""

import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contracts import normal_form
from services.contracts.normal_form import MARKS_OF_MARKS, nfc
from services.contracts.people import SignIn
from services.posts.domain.slugs import as_slug

MARKS = "\u0301\u0327\u0334\u0344\u05b0\u0345\u093c\u0f71\u0f72\u0f73\u0f74\u0f75\u0f80\u0f81\U0001d165\U0001e94a"
LETTERS = "aé\uac00\u1100\u1161\u11a8ạ̈"
BOUND = 2.0  # seconds for a field as long as its body may be; by insertion each of these takes more than ten


@given(st.text(MARKS + LETTERS, max_size=40))
def test_it_is_nfc(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(normal_form, "LONG_TEXT", 2)
        patch.setattr(normal_form, "LONG_RUN", 3)
        normal_form._long_runs.cache_clear()
        assert nfc(text) == unicodedata.normalize("NFC", text)
    normal_form._long_runs.cache_clear()


def test_every_mark_is_known() -> None:
    runs = normal_form._long_runs()
    for code in range(sys.maxunicode + 1):
        if not 0xD800 <= code < 0xE000:
            is_mark = unicodedata.combining(unicodedata.normalize("NFD", chr(code))[0]) != 0
            assert is_mark == bool(runs.match(chr(code) * normal_form.LONG_RUN)), hex(code)
    assert not any(unicodedata.combining(mark) for mark in MARKS_OF_MARKS)


@pytest.mark.parametrize(
    "marks", ["\u0301\u0327", "\u0f73", "\u0344\u0327", "\u05b3\u05b2\u05b1\u05b0", "\u0301\u0327" * 120 + "b"]
)
def test_many_marks_cost_no_more_than_other_letters(marks: str) -> None:
    text = "a" + marks * (120_000 // len(marks))
    begun = time.process_time()
    nfc(text)
    with pytest.raises(ValueError, match="at most 254"):
        SignIn.model_validate({"email": text})
    assert as_slug(text) is None
    assert time.process_time() - begun < BOUND
