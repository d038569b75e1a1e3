"""The heartbeat of the event loop: measures its lag and ends the process when it is stuck."""

import asyncio
import faulthandler
import os
import sys
import threading
import time

from services.chassis.runtime.telemetry import LOOP_LAG

STUCK_SECONDS = 60


async def beat() -> None:
    """Measure the lag of the event loop; a thread ends the process when the loop was stuck for `STUCK_SECONDS`.

    The thread counts its own seconds, so a process that was paused as a whole does not count as stuck.
    """
    beats = 0

    def watch() -> None:
        seen, unchanged = -1, 0
        while not ended.wait(1):
            unchanged = unchanged + 1 if beats == seen else 0
            seen = beats
            if unchanged >= STUCK_SECONDS:
                sys.stderr.write(f"the event loop was stuck for {STUCK_SECONDS} s; ending now\n")
                faulthandler.dump_traceback(all_threads=True)
                os._exit(1)

    ended = threading.Event()
    threading.Thread(target=watch, name="loop-watch", daemon=True).start()
    try:
        while True:
            before = time.monotonic()
            await asyncio.sleep(1)
            beats += 1
            LOOP_LAG.set(max(0.0, time.monotonic() - before - 1))
    finally:
        ended.set()
