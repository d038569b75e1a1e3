"""Forms that carry files, as browsers send them, and what is none."""

import pytest

from services.gateway.pages.multipart import Part, parts

KIND = "multipart/form-data; boundary=--x"


def body(*pieces: bytes, end: bytes = b"----x--\r\n") -> bytes:
    return b"".join(b"----x\r\n" + piece + b"\r\n" for piece in pieces) + end


TEXT = b'Content-Disposition: form-data; name="body"\r\n\r\nTwo\r\nlines \xc3\xbc'
FILE = (
    b'content-disposition: form-data; name="p"; filename="a\\"b;.png"\r\nContent-Type: image/png\r\n\r\n\r\n--x\r\n\r\n'
)


def test_fields_and_files_are_told_apart() -> None:
    assert parts(body(TEXT, FILE), KIND, 2) == [
        Part("body", b"Two\r\nlines \xc3\xbc", False), Part("p", b"\r\n--x\r\n\r\n", True)
    ]  # fmt: skip
    assert parts(body(), KIND, 2) == []


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (body(TEXT, TEXT, TEXT), KIND),
        (body(TEXT, end=b""), KIND),
        (body(TEXT), "multipart/form-data"),
        (body(TEXT), "multipart/form-data; boundary=other"),
        (body(b"no head"), KIND),
        (body(b"Content-Type: text/plain\r\n\r\nno name"), KIND),
        (body(b"Content-Disposition: form-data\r\n\r\nno name"), KIND),
        (b"", KIND),
    ],
)
def test_what_is_no_such_form_is_refused(sent: bytes, kind: str) -> None:
    with pytest.raises(ValueError, match=r"^no "):
        parts(sent, kind, 2)
