"""Origins: written as browsers write them, whatever an operator or a browser sends."""

import pytest

from services.chassis.http.origins import Origin


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("https://Blog.Example/", "https://blog.example"),
        ("HTTPS://blog.example:443", "https://blog.example"),
        ("https://blog.example:", "https://blog.example"),
        ("http://blog.example:443", "http://blog.example:443"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://BÜCHER.example", "https://xn--bcher-kva.example"),
        ("https://bu\u0308cher.example", "https://xn--bcher-kva.example"),
        ("https://faß.example", "https://xn--fa-hia.example"),
        ("https://例え。テスト", "https://xn--r8jz45g.xn--zckzah"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("http://my_host:8000", "http://my_host:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://[0:0:0:0:0:0:0:1]", "http://[::1]"),
        ("http://[2001:0DB8::00AB]:80", "http://[2001:db8::ab]"),
        ("http://[::ffff:127.0.0.1]:8000", "http://[::ffff:7f00:1]:8000"),
    ],
)
def test_an_origin_is_written_as_browsers_do(text: str, written: str) -> None:
    assert str(Origin.parse(text)) == written
    assert Origin.parse(written) == Origin.parse(text)


@pytest.mark.parametrize(
    "text", ["", "null", "blog.example", "//blog.example", "https://", "ftp://blog.example", "http://[::1", "http://x:y",
             "http://x:99999", "https://\u0378.example", "https://a..\u00fc.example", "http://[::g]", "http://:80"]
)  # fmt: skip
def test_what_has_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Origin.parse(text)


def test_names_of_this_machine_are_known() -> None:
    for host in ("localhost", "LOCALHOST", "blog.localhost", "127.0.0.1", "127.8.9.1", "[::1]"):
        assert Origin.of("http", host).is_loopback
    for host in ("localhost.example", "notlocalhost", "128.0.0.1", "[::2]", "0.0.0.0", "1.0.0.127"):
        assert not Origin.of("http", host).is_loopback
