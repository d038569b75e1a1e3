"""The form in which addresses of posts elsewhere are compared: what it costs, whatever strangers ask for."""

import time
from urllib.parse import quote

import pytest

from services.contracts.old_addresses import LONGEST, normal_address, possible_addresses

MARKS = "\u0345\u0301\u0316"
BOUND = 0.2  # seconds for twenty addresses


@pytest.mark.parametrize(
    "text",
    [
        "a" + "".join(mark * 1760 for mark in MARKS),  # fills the largest head of a request
        "a" + MARKS * 1760,
        "a" + "\u0316\u0301" * 990,  # as long as an address may be
        "/".join(["a" + "\u0301" * 480 + "\u0316" * 480] * 2),
        "\u0390" * 1990,  # each becomes three when its case is folded
        "a/" * 5990,
        "../" * 10_000,
    ],
)
def test_an_address_full_of_marks_costs_no_more_than_another(text: str) -> None:
    begun = time.process_time()
    for _ in range(20):
        assert normal_address("/" + quote(text)) is None or len(text) < 2 * LONGEST
    assert time.process_time() - begun < BOUND


@pytest.mark.parametrize(
    "address", ["/Caf\u00c9", "/cafe\u0301", "/%43afe%CC%81/", "/CAFE%CC%81?x=y", "//./caf%C3%A9/#top"]
)
def test_one_address_has_one_form(address: str) -> None:
    assert possible_addresses(address) == ["/caf\u00e9"]


def test_the_longest_addresses_are_kept_however_they_are_encoded() -> None:
    text = "/" + "\U0001f600" * (LONGEST - 1)
    assert normal_address(text) == normal_address(quote(text)) == text
    assert normal_address(text + "x") is None
