"""Files that are sent as pictures and harm whoever trusts them, made here byte by byte."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

PNG, JPEG, WEBP, GIF = "image/png", "image/jpeg", "image/webp", "image/gif"
PLACE = "48.8584 N 2.2945 E"
SECRET = b"a-note-that-must-not-stay"


@dataclass(frozen=True)
class Hostile:
    """One file.

    Attributes:
        size: of the picture that may be made of it; None if it is refused.
        status: of the refusal.
    """

    name: str
    kind: str
    make: Callable[[], bytes]
    size: tuple[int, int] | None = None
    status: int = 422


def file(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """Return a picture as a file."""
    target = io.BytesIO()
    picture.save(target, kind.partition("/")[2], **options)
    return target.getvalue()


def plain(kind: str = PNG, mode: str = "RGB", size: tuple[int, int] = (40, 30), **options: Any) -> bytes:
    return file(
        Image.new(mode, size, 90 if len(mode) < 3 or mode == "I;16" else (200, 30, 30, 90)[: len(mode)]),
        kind,
        **options,
    )


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(
    width: int, height: int, rows: bytes = b"", *, depth: int = 8, colour: int = 2, more: Sequence[bytes] = ()
) -> bytes:
    """Return a PNG whose header may say anything."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def gif(canvas: tuple[int, int], frame: tuple[int, int]) -> bytes:
    """Return a GIF whose canvas and first frame may have any size."""
    made = bytearray(plain(GIF, "P", (2, 2)))
    made[6:10] = struct.pack("<HH", *canvas)
    place = made.index(b",", 13 + 3 * 2 ** ((made[10] & 7) + 1))
    made[place + 5 : place + 9] = struct.pack("<HH", *frame)
    return bytes(made)


def jpeg_of_size(width: int, height: int) -> bytes:
    made = bytearray(plain(JPEG))
    start = made.index(b"\xff\xc0")
    made[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(made)


def webp_of_size(width: int, height: int) -> bytes:
    head = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x10\0\0\0" + head + plain(WEBP)[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def with_place(kind: str, **options: Any) -> bytes:
    """Return a picture that says where it was taken, and stands on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = f"{PLACE} {SECRET.decode()}"
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 30.0), 3: "E", 4: (2.0, 17.0, 40.0)})
    return plain(kind, exif=exif.tobytes(), **options)


def archive() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        made.writestr("index.html", b"<script>alert(1)</script>" + SECRET)
    return target.getvalue()


def animation(kind: str, count: int) -> bytes:
    frames = [Image.new("RGB", (40, 30), (number % 256, 0, 0)) for number in range(count)]
    return file(frames[0], kind, save_all=True, append_images=frames[1:], duration=20)


def with_text() -> bytes:
    info = PngInfo()
    info.add_text("Comment", SECRET.decode() + PLACE, zip=True)
    info.add_itxt("XML:com.adobe.xmp", f"<x:xmpmeta>{SECRET.decode()}</x:xmpmeta>")
    return plain(PNG, pnginfo=info)


def text_bomb() -> bytes:
    return png(1, 1, b"\0\0\0\0", more=[chunk(b"zTXt", b"k\0\0" + zlib.compress(b"x" * 64_000_000, 9))])


def profile_bomb() -> bytes:
    return png(1, 1, b"\0\0\0\0", more=[chunk(b"iCCP", b"k\0\0" + zlib.compress(b"x" * 64_000_000, 9))])


def halved(data: bytes) -> bytes:
    return data[: len(data) // 2]


def noise(kind: str, **options: Any) -> bytes:
    return file(Image.effect_noise((60, 40), 80).convert("RGB"), kind, **options)


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ROW = b"\0" * (8192 * 3 + 1)

HOSTILE = (
    # what is none, or another kind than it says
    Hostile("nothing", PNG, lambda: b""),
    Hostile("a text", PNG, lambda: b"hello", status=415),
    Hostile("SVG called PNG", PNG, lambda: SVG, status=415),
    Hostile("HTML called GIF", GIF, lambda: b"<html><script>1</script>", status=415),
    Hostile("JPEG called PNG", PNG, lambda: plain(JPEG), status=415),
    Hostile("PNG called WebP", WEBP, plain, status=415),
    Hostile("BMP called PNG", PNG, lambda: file(Image.new("RGB", (4, 4)), "image/bmp"), status=415),
    Hostile("TIFF called JPEG", JPEG, lambda: file(Image.new("RGB", (4, 4)), "image/tiff"), status=415),
    Hostile("an archive called WebP", WEBP, archive, status=415),
    Hostile("a sound in RIFF called WebP", WEBP, lambda: b"RIFF\x24\0\0\0WAVEfmt ", status=415),
    Hostile("SVG declared", "image/svg+xml", lambda: SVG, status=415),
    Hostile("a signature alone", PNG, lambda: b"\x89PNG\r\n\x1a\n"),
    Hostile("GIF's signature before JavaScript", GIF, lambda: b"GIF89a/*" + b"x" * 99 + b"*/=1;alert(1)"),
    # truncated and damaged
    Hostile("half a PNG", PNG, lambda: halved(noise(PNG))),
    Hostile("half a JPEG", JPEG, lambda: halved(noise(JPEG))),
    Hostile("half a WebP", WEBP, lambda: halved(noise(WEBP))),
    Hostile("half a GIF", GIF, lambda: halved(noise(GIF))),
    Hostile("a PNG with a wrong checksum", PNG, lambda: plain().replace(b"IHDR\0\0\0\x28", b"IHDR\0\0\0\x29")),
    Hostile("a PNG without pixels", PNG, lambda: png(10, 10)),
    # sizes
    Hostile("zero wide", PNG, lambda: png(0, 10)),
    Hostile("zero high", GIF, lambda: gif((0, 0), (0, 0))),
    Hostile("a PNG of 2³¹ pixels a side", PNG, lambda: png(2**31 - 1, 2**31 - 1)),
    Hostile("a PNG one pixel too wide", PNG, lambda: png(8193, 1, b"\0" * (8193 * 3 + 1))),
    Hostile("a PNG one pixel too high", PNG, lambda: png(1, 8193, b"\0\0\0\0" * 8193)),
    Hostile("a JPEG of 65,500²", JPEG, lambda: jpeg_of_size(65_500, 65_500)),
    Hostile("a GIF of 65,535²", GIF, lambda: gif((65_535, 65_535), (65_535, 65_535))),
    Hostile("a GIF whose frame leaves its canvas", GIF, lambda: gif((2, 2), (65_535, 65_535))),
    Hostile("a WebP of 16,384²", WEBP, lambda: webp_of_size(16_384, 16_384)),
    # bombs
    Hostile("200 MB of black in 200 kB", PNG, lambda: png(8192, 8192, ROW * 8192), (2048, 2048)),
    Hostile("a PNG with more pixels than it says", PNG, lambda: png(4, 4, ROW * 2000), (4, 4)),
    Hostile("64 MB of text in 64 kB", PNG, text_bomb),
    Hostile("64 MB of colours in 64 kB", PNG, profile_bomb),
    Hostile("an animation of 400 frames", GIF, lambda: animation(GIF, 400), (40, 30)),
    # what must not stay
    Hostile("a JPEG with its place", JPEG, lambda: with_place(JPEG), (30, 40)),
    Hostile("a PNG with its place", PNG, lambda: with_place(PNG), (30, 40)),
    Hostile("a WebP with its place", WEBP, lambda: with_place(WEBP), (30, 40)),
    Hostile("a PNG with notes", PNG, with_text, (40, 30)),
    Hostile("a JPEG with a comment", JPEG, lambda: plain(JPEG, comment=SECRET), (40, 30)),
    Hostile("a GIF with a comment", GIF, lambda: plain(GIF, "P", comment=SECRET), (40, 30)),
    Hostile("a picture and an archive", JPEG, lambda: plain(JPEG) + archive(), (40, 30)),
    Hostile("a picture and a page", PNG, lambda: plain() + b"<script>alert(1)</script>" + SECRET, (40, 30)),
    Hostile("a profile of colours", JPEG, lambda: plain(JPEG, icc_profile=SRGB), (40, 30)),
    Hostile("a broken profile", PNG, lambda: plain(PNG, icc_profile=SECRET * 40), (40, 30)),
    Hostile("Exif that is none", JPEG, lambda: plain(JPEG, exif=b"Exif\0\0" + SECRET), (40, 30)),
    # unusual, and pictures
    Hostile("an animated PNG", PNG, lambda: animation(PNG, 3), (40, 30)),
    Hostile("an animated WebP", WEBP, lambda: animation(WEBP, 3), (40, 30)),
    Hostile("CMYK", JPEG, lambda: plain(JPEG, "CMYK"), (40, 30)),
    Hostile("16 bits of grey", PNG, lambda: plain(PNG, "I;16"), (40, 30)),
    Hostile("one bit", PNG, lambda: plain(PNG, "1"), (40, 30)),
    Hostile("a palette with transparency", PNG, lambda: plain(PNG, "P", transparency=90), (40, 30)),
    Hostile("grey with transparency", PNG, lambda: plain(PNG, "LA"), (40, 30)),
    Hostile("wider than it is shown", JPEG, lambda: plain(JPEG, size=(4096, 16)), (2048, 8)),
)
