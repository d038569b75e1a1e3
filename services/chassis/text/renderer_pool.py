"""Render Markdown or imported HTML to safe HTML outside the event loop, within limits of time and memory.

Child processes render, because only a process can be stopped in the middle of a regular expression or a native call. A
child starts when it is first needed, a second one when two texts are rendered at once.

markdown-it-py takes 1.2 ms for 460 characters, so plain prose bypasses it. pyromark takes a hundredth of that but does
not link bare addresses; comrak is as fast and links them, but exposes no tokens. All callers use `render`, so another
renderer changes only this module and `RENDERER_VERSION`.
"""

import asyncio
import atexit
import contextlib
import os
import selectors
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Literal

from services.chassis.errors import invalid, unavailable
from services.chassis.text.html_to_text import excerpt, plain
from services.chassis.text.prose import is_prose, prose_html
from services.chassis.text.renderer_wire import CPU_SIGNAL, DONE, HEADER

__all__ = ["RENDERER_VERSION", "excerpt", "plain", "render"]

RENDERER_VERSION = 1
CHILDREN = 2
WALL_SECONDS = 10.0
MOST_WAITING = 200
TOO_COSTLY = "is too costly to render; make it simpler"


class _Gone(Exception):
    """The child process has ended before its response."""


class _Late(Exception):
    """The machine is overloaded: no response within `WALL_SECONDS`."""


class Child:
    """One rendering process and its pipe, for one thread at a time."""

    def __init__(self) -> None:
        environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PATH": os.environ.get("PATH", "")}
        self.process = subprocess.Popen(  # our own module, no shell, no secrets in its environment
            [sys.executable, "-m", "services.chassis.text.renderer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        try:
            self._read(time.monotonic() + WALL_SECONDS)
        except BaseException:
            self.end()
            raise

    @property
    def input(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin

    @property
    def output(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    def request(self, kind: bytes, source: bytes) -> tuple[bytes, str]:
        try:
            self.input.write(HEADER.pack(kind, len(source)) + source)
            self.input.flush()
        except OSError:
            raise _Gone from None
        return self._read(time.monotonic() + WALL_SECONDS)

    def _read(self, deadline: float) -> tuple[bytes, str]:
        status, length = HEADER.unpack(self._exactly(HEADER.size, deadline))
        return status, self._exactly(length, deadline).decode()

    def _exactly(self, length: int, deadline: float) -> bytes:
        data = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(self.output, selectors.EVENT_READ)
            while len(data) < length:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise _Late
                chunk = os.read(self.output.fileno(), length - len(data))
                if not chunk:
                    raise _Gone
                data += chunk
        return bytes(data)

    def end(self) -> None:
        self.process.kill()  # without effect on an ended process, whose `returncode` is kept
        self.process.wait()
        for pipe in (self.input, self.output):
            with contextlib.suppress(OSError):
                pipe.close()


class Renderer:
    """A pool of child processes, each with a thread of its own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(CHILDREN, thread_name_prefix="render")
        self._own = threading.local()
        self._children: set[Child] = set()
        self._waiting = 0
        atexit.register(self.close)

    async def render(self, source: str, format: Literal["markdown", "html"]) -> str:
        if self._waiting >= MOST_WAITING:
            raise unavailable("Too many texts wait to be rendered.")
        self._waiting += 1
        try:
            work = self._threads.submit(self._render, format[:1].encode(), source.encode())
            return await asyncio.wrap_future(work)
        finally:
            self._waiting -= 1

    def _render(self, kind: bytes, source: bytes) -> str:
        """Render in a thread. A text is tried twice: its child may have been killed for another reason."""
        for _ in range(2):
            child: Child = getattr(self._own, "child", None) or self._start()
            try:
                status, text = child.request(kind, source)
            except _Gone:
                self._end(child)
                if child.process.returncode == -CPU_SIGNAL:
                    break
            except _Late:
                self._end(child)
                raise unavailable("The text could not be rendered in time.") from None
            else:
                if status == DONE:
                    return text
                raise invalid("body", text)
        raise invalid("body", TOO_COSTLY)

    def _start(self) -> Child:
        try:
            child = Child()
        except (_Gone, _Late, OSError):
            raise unavailable("The renderer does not start.") from None
        self._own.child = child
        self._children.add(child)
        return child

    def _end(self, child: Child) -> None:
        self._own.child = None
        self._children.discard(child)
        child.end()

    def close(self) -> None:
        for child in list(self._children):
            child.end()
        self._children.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)


_renderer: Renderer | None = None


async def render(source: str, format: Literal["markdown", "html"]) -> str:
    """Return safe HTML of the text.

    Raises:
        Problem: `invalid` naming `body` when the text is nested too deeply or costs too much processor time;
            `unavailable` when too many texts wait.
    """
    global _renderer
    if format == "markdown" and is_prose(source):
        return prose_html(source)
    if _renderer is None:
        _renderer = Renderer()
    return await _renderer.render(source, format)
