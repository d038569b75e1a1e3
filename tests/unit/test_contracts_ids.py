"""Ids have one spelling, in any case of letters."""

from uuid import UUID

import pytest
from pydantic import TypeAdapter, ValidationError

from services.contracts.ids import Id, canonical, id_or_none, is_id

AN_ID = "01936f6e-0000-7000-8000-00000000abcd"
OTHER_SPELLINGS = [
    AN_ID.replace("-", ""),
    f"{{{AN_ID}}}",
    f"urn:uuid:{AN_ID}",
    f" {AN_ID}",
    f"{AN_ID}\n",
    "01936f6e0000-7000-8000-0000-00000000abcd",
    AN_ID.replace("0", "\N{FULLWIDTH DIGIT ZERO}"),
    "",
]


@pytest.mark.parametrize("text", [AN_ID, AN_ID.upper(), AN_ID.replace("abcd", "aBcD")])
def test_the_case_of_letters_means_nothing(text: str) -> None:
    assert is_id(text)
    assert canonical(text) == id_or_none(text) == AN_ID
    assert TypeAdapter(Id).validate_python(text) == UUID(AN_ID)


@pytest.mark.parametrize("text", OTHER_SPELLINGS)
def test_other_spellings_are_no_ids(text: str) -> None:
    assert not is_id(text)
    assert id_or_none(text) is None
    assert id_or_none(None) is None
    with pytest.raises(ValueError, match="must be an id"):
        canonical(text)
    with pytest.raises(ValidationError, match="must be an id"):
        TypeAdapter(Id).validate_python(text)
