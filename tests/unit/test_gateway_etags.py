"""Entity tags of version and bytes."""

import pytest

from services.gateway.caching.etags import entity_tag, matches

TAG = entity_tag(3, b"hello")


def test_a_tag_depends_on_the_version_and_the_bytes() -> None:
    assert TAG.startswith('"3-')
    assert TAG.endswith('"')
    assert entity_tag(3, b"hello") == TAG
    assert entity_tag(3, b"hullo") != TAG
    assert entity_tag(4, b"hello") != TAG
    assert entity_tag(3, b"hello", 0) == TAG
    assert entity_tag(3, b"hello", 9).startswith('"3-e9-')


@pytest.mark.parametrize("header", [TAG, f"W/{TAG}", f'"x", {TAG}', f'{TAG},"y"', "*", " * "])
def test_if_none_match_with_the_tag_matches(header: str) -> None:
    assert matches(header, TAG)


@pytest.mark.parametrize("header", [None, "", '"x"', TAG.strip('"'), entity_tag(3, b"other"), "W/*"])
def test_if_none_match_without_the_tag_does_not_match(header: str | None) -> None:
    assert not matches(header, TAG)
