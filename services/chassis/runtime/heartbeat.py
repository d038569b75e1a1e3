"""The heartbeat of a process: how late its event loop is, and its end when the loop does not turn any more."""

import asyncio
import faulthandler
import os
import sys
import threading
import time

from services.chassis.runtime.telemetry import LOOP_LAG

STUCK_SECONDS = 60


async def beat() -> None:
    """Measure how late the event loop is; a thread ends the process when the loop has not turned for a minute.

    The thread counts its own seconds, so a process that was paused as a whole is not taken for a stuck one.
    """
    beats = 0

    def watch() -> None:
        seen, unchanged = -1, 0
        while not over.wait(1):
            unchanged = unchanged + 1 if beats == seen else 0
            seen = beats
            if unchanged >= STUCK_SECONDS:
                sys.stderr.write(f"the event loop has not turned for {STUCK_SECONDS} s; ending now\n")
                faulthandler.dump_traceback(all_threads=True)
                os._exit(1)

    over = threading.Event()
    threading.Thread(target=watch, name="loop-watch", daemon=True).start()
    try:
        while True:
            before = time.monotonic()
            await asyncio.sleep(1)
            beats += 1
            LOOP_LAG.set(max(0.0, time.monotonic() - before - 1))
    finally:
        over.set()
