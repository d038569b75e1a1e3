"""A subject has one `Re:`, whatever stands before the title."""

import pytest

from services.chassis.mail.subjects import without_answer_marks


@pytest.mark.parametrize(
    ("title", "base"),
    [
        *((title, "x") for title in ("x", "Re: x", "RE: x", "re:x", "Re : x", "Re[2]: x", "Re(3): x", "Re^2: x")),
        *(
            (title, "x")
            for title in (
                "AW: x",
                "Aw:x",
                "Antw: x",
                "ANTW: x",
                "Odp: x",
                "回复：x",
                "答复: x",
                "Re：x",
                "ＲＥ：x",
                "Отв: x",
                "رد: x",
            )
        ),
        *((title, "x") for title in ("Re: Re: x", "RE: AW: Re[2]: x", "Re:\u00a0x", "\u200fRe: x", "Re\u200b: x")),
        ("Fwd: x", "Fwd: x"),
        ("Re: Fwd: Re: x", "Fwd: x"),
        ("FW: Re: x", "FW: x"),
        ("Read: x", "Read: x"),
        ("Are: x", "Are: x"),
        ("Re x", "Re x"),
        ("Re-use: x", "Re-use: x"),
        ("x Re: y", "x Re: y"),
        ("SV: Werder", "SV: Werder"),
        ("R: an introduction", "R: an introduction"),
        ("Re:", ""),
        ("", ""),
    ],
)
def test_marks_of_answers_are_taken_from_the_beginning(title: str, base: str) -> None:
    assert without_answer_marks(title) == base


def test_many_marks_take_linear_time() -> None:
    assert without_answer_marks("Re: " * 50_000 + "x") == "x"
    assert without_answer_marks("\u200b" * 50_000 + "x").endswith("x")
    assert without_answer_marks("re" + " " * 50_000 + "x").endswith("x")
