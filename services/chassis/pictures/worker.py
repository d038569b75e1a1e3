"""Re-encode one picture as WebP: the program of a process of its own, which ends with it.

It is started by its file's name, apart from the service: it imports nothing of it, inherits no connection and no
secret, and limits itself before it looks at a byte. Nobody imports it, so the library costs a service no memory.

Standard input is the file. Standard output is one line of JSON: `{"width", "height"}`, and the new file behind it, or
`{"refused"}`, the predicate of a sentence about the picture.
"""

import contextlib
import ctypes
import io
import json
import os
import resource
import signal
import sys
from collections.abc import Callable

from PIL import GifImagePlugin, Image, ImageCms, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

PR_SET_PDEATHSIG = 1
ORIENTATION = 0x0112  # a tag of Exif
QUALITY = 82
FEW_COLOURS = 256  # a drawing, which is smaller without loss and has sharp edges

READERS: dict[str, Callable[[io.BytesIO], Image.Image]] = {
    "image/png": PngImagePlugin.PngImageFile,
    "image/jpeg": JpegImagePlugin.JpegImageFile,
    "image/webp": WebPImagePlugin.WebPImageFile,
    "image/gif": GifImagePlugin.GifImageFile,
}
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ON_ITS_SIDE = (5, 6, 7, 8)


class Refused(Exception):
    """The picture cannot be taken. The message is the predicate of a sentence about it."""


def limit(parent: int, memory: int, seconds: int) -> None:
    """Bound this process: its memory, its time, its files; and let it end with its parent."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123  # loads less
            file.write("1000")  # the service lives on where memory ends
    if os.getppid() != parent:
        os._exit(1)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def encode(data: bytes, kind: str, most_side: int, most_width: int, square: int) -> tuple[bytes, int, int]:
    """Return the picture as WebP without metadata, its width and its height.

    Args:
        most_side: the most pixels of its width and height, as its header says them.
        most_width: a wider one is made smaller.
        square: the side of the square that is cut out of its middle; 0 for none.

    Raises:
        Refused: it is too large, or it cannot be read.
    """
    picture = READERS[kind](io.BytesIO(data))
    _check(picture, most_side)
    profile = picture.info.get("icc_profile")
    orientation = _orientation(picture)
    if isinstance(picture, JpegImagePlugin.JpegImageFile):
        least = square or most_width
        picture.draft(None, (least, least))  # decodes at a half, a quarter or an eighth, never below that
    picture.load()
    _check(picture, most_side)  # the first frame of an animation may be larger than its canvas
    box, size = _cut(picture.size, most_width, square, orientation in ON_ITS_SIDE)
    if picture.mode.startswith("I;16"):  # made smaller before it is widened, which takes four times the memory
        picture = picture.resize(size, Image.Resampling.BOX, box)
        box = (0, 0, *picture.size)
    picture = _plain(picture)
    if (size, box) != (picture.size, (0, 0, *picture.size)):
        picture = picture.resize(size, Image.Resampling.BICUBIC, box, reducing_gap=3.0)
    picture = _in_common_colours(picture, profile)
    if orientation in TURNS:
        picture = picture.transpose(TURNS[orientation])
    # a new picture of the bare pixels: nothing else of the file can come along
    bare = Image.frombytes(picture.mode, picture.size, picture.tobytes())
    drawn = bare.getcolors(FEW_COLOURS) is not None
    target = io.BytesIO()
    bare.save(target, "WEBP", lossless=drawn, quality=QUALITY, method=4)
    return target.getvalue(), bare.width, bare.height


def _check(picture: Image.Image, most_side: int) -> None:
    if min(picture.size) < 1:
        raise Refused("has no pixels")
    if max(picture.size) > most_side:
        raise Refused(f"may be at most {most_side:,} pixels wide and high")


def _cut(
    size: tuple[int, int], most_width: int, square: int, lies_on_its_side: bool
) -> tuple[tuple[float, float, float, float], tuple[int, int]]:
    """Return which part of the picture is shown, and in which size."""
    width, height = size
    if square:
        side = min(size)
        left, top = (width - side) / 2, (height - side) / 2
        return (left, top, left + side, top + side), (square, square)
    scale = min(1.0, most_width / (height if lies_on_its_side else width))
    return (0, 0, width, height), (max(1, round(width * scale)), max(1, round(height * scale)))


def _orientation(picture: Image.Image) -> int:
    """Return how the picture stands, as Exif says it; 1 is upright."""
    try:
        found = picture.getexif().get(ORIENTATION)
    except Exception:  # notes about the picture may be nonsense, and the picture one
        return 1
    return found if found in TURNS else 1


def _plain(picture: Image.Image) -> Image.Image:
    """Return the picture in 8 bits of grey, RGB, CMYK or RGBA; one transparent colour becomes transparency."""
    if picture.mode.startswith("I"):
        picture.info.pop("transparency", None)  # of 16 bits, no grey that is left says which was meant
        picture = picture.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if picture.mode in ("LA", "La", "PA", "RGBa") or "transparency" in picture.info:
        return picture.convert("RGBA")
    return picture if picture.mode in ("L", "RGB", "RGBA", "CMYK") else picture.convert("RGB")


def _in_common_colours(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Return the picture in sRGB, by its own profile of colours if that can be read."""
    mode = "RGBA" if picture.mode == "RGBA" else "RGB"
    if profile:
        with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            common = ImageCms.createProfile("sRGB")
            found = ImageCms.profileToProfile(picture, source, common, outputMode=mode)
            picture = picture if found is None else found
    return picture if picture.mode == mode else picture.convert(mode)


def main() -> None:
    """Read the picture, write what became of it."""
    parent, memory, seconds, most_side, most_width, square = map(int, sys.argv[2:8])
    limit(parent, memory, seconds)
    try:
        content, width, height = encode(sys.stdin.buffer.read(), sys.argv[1], most_side, most_width, square)
        head: dict[str, object] = {"width": width, "height": height}
    except Refused as refusal:
        content, head = b"", {"refused": str(refusal)}
    except MemoryError:
        content, head = b"", {"refused": "takes too much memory to be read"}
    except Exception:  # whatever the reader of a broken file raises
        content, head = b"", {"refused": "cannot be read: its file is damaged or incomplete"}
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + content)


if __name__ == "__main__":
    main()
