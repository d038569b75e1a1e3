"""Pictures are re-encoded in a process of their own: hostile files are refused or come out clean, in bounded memory."""

import asyncio
import contextlib
import io
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
from PIL import Image
from starlette.requests import Request

from services.chassis.errors import Problem
from services.chassis.http.picture_body import read_picture
from services.chassis.pictures.encoder import MEMORY, WORKER, Encoder, Form, Picture, memory_left
from tests.hostile_pictures import HOSTILE, JPEG, PLACE, PNG, ROW, SECRET, WEBP, Hostile, file, plain, png
from tests.waiting import eventually

SHOWN = Form(most_width=2048)
LIMIT = 5 * 2**20
MIB = 2**20


def request_of(data: bytes, kind: str, **headers: str) -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": data, "more_body": False}

    sent = {"content-type": kind} | headers
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in sent.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": raw, "query_string": b""}, receive)


async def taken(data: bytes, kind: str, encoder: Encoder | None = None, form: Form = SHOWN) -> Picture:
    content, found = await read_picture(request_of(data, kind), LIMIT)
    return await (encoder or Encoder()).encode(content, found, form, uuid4())


def opened(picture: Picture) -> Image.Image:
    shown = Image.open(io.BytesIO(picture.content), formats=["WEBP"])
    shown.load()
    assert shown.size == (picture.width, picture.height)
    return shown


def workers(parent: int | None = None) -> list[psutil.Process]:
    """Return the processes below one that re-encode a picture."""
    found = []
    for one in psutil.Process(parent).children():
        with contextlib.suppress(psutil.Error):
            found += [one] if WORKER in one.cmdline() else []
    return found


def test_there_are_forty_of_them_and_no_two_alike() -> None:
    assert len({one.name for one in HOSTILE}) == len(HOSTILE) >= 40


@pytest.mark.parametrize("hostile", HOSTILE, ids=[one.name for one in HOSTILE])
async def test_a_hostile_file_is_refused_or_comes_out_clean(hostile: Hostile) -> None:
    data, memory = hostile.make(), psutil.Process().memory_info().rss
    assert len(data) < LIMIT
    if hostile.size is None:
        with pytest.raises(Problem) as refusal:
            await taken(data, hostile.kind)
        assert refusal.value.status == hostile.status
        assert refusal.value.detail.endswith(".")
    else:
        picture = await taken(data, hostile.kind)
        shown = opened(picture)
        assert shown.size == hostile.size
        assert not {"exif", "xmp", "icc_profile", "comment"} & shown.info.keys()
        assert not shown.getexif()
        assert getattr(shown, "n_frames", 1) == 1
        for trace in (SECRET, PLACE.encode(), b"<script", b"PK\x03\x04", b"EXIF", b"ICCP"):
            assert trace not in picture.content
    assert psutil.Process().memory_info().rss - memory < 64 * MIB
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 <= MEMORY


async def test_a_picture_stands_as_its_camera_was_held() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = Image.new("RGB", (40, 30), "white")
    wide.paste("red", (0, 0, 40, 15))  # the upper half, which stands on the right
    shown = opened(await taken(file(wide, JPEG, exif=exif.tobytes(), quality=95), JPEG)).convert("RGB")
    assert shown.size == (30, 40)
    left, right = shown.getpixel((3, 20)), shown.getpixel((27, 20))
    assert isinstance(left, tuple)
    assert isinstance(right, tuple)
    assert min(left) > 220
    assert right[0] > 220 > 60 > right[1]


async def test_transparency_stays_and_16_bits_keep_their_light() -> None:
    drawn = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
    drawn.paste((10, 200, 10, 255), (0, 0, 5, 10))
    shown = opened(await taken(file(drawn, PNG), PNG))
    assert (shown.getpixel((1, 1)), shown.convert("RGBA").getpixel((8, 8))) == ((10, 200, 10, 255), (0, 0, 0, 0))
    grey = opened(await taken(file(Image.new("I;16", (10, 10), 0x8080), PNG), PNG)).convert("L").getpixel((5, 5))
    assert isinstance(grey, int)
    assert abs(grey - 128) < 3


async def test_a_square_is_cut_out_of_the_middle() -> None:
    wide = Image.new("RGB", (900, 300), "blue")
    wide.paste("red", (300, 0, 600, 300))
    shown = opened(await taken(file(wide, PNG), PNG, form=Form(256, 256)))
    assert shown.size == (256, 256)
    assert {shown.convert("RGB").getpixel(place) for place in ((3, 3), (128, 128), (252, 252))} == {(255, 0, 0)}
    assert opened(await taken(plain(size=(3, 9)), PNG, form=Form(256, 256))).size == (256, 256)


async def test_a_picture_that_costs_too_much_is_refused() -> None:
    noise = Image.effect_noise((512, 512), 90).resize((8192, 8192)).convert("RGBA")
    for data, kind, encoder, words in (
        (png(8192, 8192, ROW * 8192), PNG, Encoder(memory=200 * MIB), "takes too much memory"),
        (file(noise, WEBP, quality=1, method=0), WEBP, Encoder(cpu_seconds=1), "takes too much time"),
    ):
        with pytest.raises(Problem) as refusal:
            await taken(data, kind, encoder)
        assert (refusal.value.status, words in refusal.value.detail) == (422, True)


async def test_a_picture_that_comes_too_late_is_given_up_with_its_process() -> None:
    with pytest.raises(Problem) as refusal:
        await taken(png(8192, 8192, ROW * 8192), PNG, Encoder(seconds=0.3))
    assert refusal.value.status == 503
    assert not workers()


async def test_one_person_has_one_picture_under_way_and_one_process_runs() -> None:
    encoder, anna, ben = Encoder(), uuid4(), uuid4()
    data = png(4096, 4096, b"\0" * (4096 * 3 + 1) * 4096)
    first = asyncio.ensure_future(encoder.encode(data, PNG, SHOWN, anna))
    second = asyncio.ensure_future(encoder.encode(data, PNG, SHOWN, ben))
    await asyncio.sleep(0)
    with pytest.raises(Problem) as refusal:
        await encoder.encode(data, PNG, SHOWN, anna)
    assert (refusal.value.status, "of yours" in refusal.value.detail) == (503, True)
    most = 0

    def is_done() -> bool:
        nonlocal most
        most = max(most, len(workers()))
        return first.done() and second.done()

    await eventually(is_done, pause=0.01)
    assert most == 1
    assert (await first).content == (await second).content
    await encoder.encode(plain(), PNG, SHOWN, anna)


async def test_the_process_has_no_secret_and_ends_with_its_parent() -> None:
    program = (
        "import asyncio, uuid\n"
        "from services.chassis.pictures.encoder import *\n"
        "from tests.hostile_pictures import *\n"
        "asyncio.run(Encoder().encode(png(8192, 8192, ROW * 8192), PNG, Form(2048), uuid.uuid4()))\n"
    )
    environment = os.environ | {"A_SECRET": "hidden"}
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, env=environment)
    found: list[psutil.Process] = []

    def is_found() -> bool:
        found[:] = workers(parent.pid)
        return bool(found)

    await eventually(is_found)
    assert "A_SECRET" not in found[0].environ()
    parent.kill()
    await parent.wait()
    await eventually(lambda: not found[0].is_running() or found[0].status() == psutil.STATUS_ZOMBIE)


def test_a_container_that_is_small_bounds_the_memory(tmp_path: Path) -> None:
    assert memory_left(tmp_path) == MEMORY
    (tmp_path / "memory.current").write_text(f"{100 * MIB}\n")
    for most, left in (("max", MEMORY), (str(512 * MIB), int(412 * MIB * 0.8)), (str(90 * MIB), 0)):
        (tmp_path / "memory.max").write_text(f"{most}\n")
        assert memory_left(tmp_path) == left


def test_a_service_does_not_load_the_library() -> None:
    loaded = "import sys, services.chassis.http.picture_body; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], timeout=60).returncode == 0


async def test_a_body_is_refused_before_it_is_read() -> None:
    for data, kind, headers, status in (
        (b"x", "application/json", {}, 415),
        (plain(), PNG, {"content_encoding": "gzip"}, 415),
        (plain(), PNG, {"content_length": str(LIMIT + 1)}, 413),
        (plain() + b"x" * LIMIT, PNG, {}, 413),
    ):
        with pytest.raises(Problem) as refusal:
            await read_picture(request_of(data, kind, **headers), LIMIT)
        assert refusal.value.status == status
