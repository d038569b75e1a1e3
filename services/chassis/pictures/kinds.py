"""The kinds of pictures that are taken, by the first bytes of their files."""

PNG, JPEG, WEBP, GIF = "image/png", "image/jpeg", "image/webp", "image/gif"
KINDS = (PNG, JPEG, WEBP, GIF)

SIGNATURES = ((b"\x89PNG\r\n\x1a\n", PNG), (b"\xff\xd8\xff", JPEG), (b"GIF87a", GIF), (b"GIF89a", GIF))


def kind_of(data: bytes) -> str | None:
    """Return the media type that the first bytes of a file say; None for what is no picture here."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WEBP
    return next((kind for signature, kind in SIGNATURES if data.startswith(signature)), None)
