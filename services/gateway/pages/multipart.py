"""Split the body of a form that carries files (RFC 7578): in memory, where it is already, and in linear time."""

from dataclasses import dataclass

from python_multipart.multipart import parse_options_header


@dataclass(frozen=True)
class Part:
    """One field, or one file.

    Attributes:
        content: as it was sent; that of a file which nobody chose is empty.
    """

    name: str
    content: bytes
    is_file: bool


def parts(body: bytes, content_type: str, most: int) -> list[Part]:
    """Return the parts of a body.

    Raises:
        ValueError: it is not what its media type says, or has more than `most` parts.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise ValueError("no boundary")
    _, *pieces = (b"\r\n" + body).split(b"\r\n--" + boundary, most + 1)
    if not pieces or not pieces.pop().startswith(b"--"):
        raise ValueError("no end, or too many parts")
    return [_part(piece) for piece in pieces]


def _part(piece: bytes) -> Part:
    head, separator, content = piece.partition(b"\r\n\r\n")
    if not separator:
        raise ValueError("no head")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-disposition":
            _, options = parse_options_header(value.decode("latin-1"))
            if b"name" in options:
                return Part(options[b"name"].decode("utf-8", "replace"), content, b"filename" in options)
    raise ValueError("no name")
