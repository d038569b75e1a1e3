"""The head of a request: its size, and the headers on which the reading of the request depends."""

import pytest

from services.chassis.errors import Problem
from services.chassis.http.request_head import HEADER_BYTES, ONCE, check_head

HOST = (b"host", b"h")


def refusal(version: str, target: bytes, *headers: tuple[bytes, bytes]) -> tuple[str, str]:
    """Return kind and detail of the problem."""
    with pytest.raises(Problem) as caught:
        check_head(version, target, headers)
    return caught.value.kind, caught.value.detail


def test_bound_is_exact() -> None:
    size = len(b"/") + len(b"host: h\r\n") + len(b"x: \r\n")
    check_head("1.1", b"/", [HOST, (b"x", b"a" * (HEADER_BYTES - size))])
    assert refusal("1.1", b"/", HOST, (b"x", b"a" * (HEADER_BYTES - size + 1)))[0] == "headers-too-large"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("name", sorted(ONCE))
def test_header_that_stands_once_is_named_when_repeated(version: str, name: bytes) -> None:
    others = () if name == b"host" else (HOST,)
    kind, detail = refusal(version, b"/", *others, (name, b"1"), (b"x", b"y"), (name, b"1"))
    assert kind == "malformed-request"
    assert ONCE[name] in detail


def test_lists_may_be_repeated() -> None:
    check_head("1.1", b"/", [HOST, *[(b"accept", b"a"), (b"x-forwarded-for", b"::1"), (b"if-none-match", b'"1"')] * 2])


def test_host_may_be_missing_in_http_1_0_only() -> None:
    check_head("1.0", b"/", [])
    assert "Host" in refusal("1.1", b"/")[1]
