"""Failpoints: named places at which a test kills or pauses the process, to prove that nothing is lost there.

`FAILPOINTS=relay.produced:3` sends SIGKILL to the process when it passes `relay.produced` for the third time;
`relay.read:1:stop` sends SIGSTOP instead, once. Several are separated by commas. Without the variable a failpoint costs
one dictionary look-up.
"""

import asyncio
import os
import signal
from dataclasses import dataclass


@dataclass
class _Armed:
    left: int
    number: signal.Signals


def _parse(text: str) -> dict[str, _Armed]:
    armed = {}
    for item in filter(None, text.split(",")):
        name, _, rest = item.strip().partition(":")
        count, _, action = rest.partition(":")
        armed[name] = _Armed(int(count or 1), signal.SIGSTOP if action == "stop" else signal.SIGKILL)
    return armed


_armed = _parse(os.environ.get("FAILPOINTS", ""))


def reach(name: str) -> None:
    """Pass the failpoint `name`; kill or pause the process if it is armed."""
    if name not in _armed:
        return
    point = _armed[name]
    point.left -= 1
    if point.left == 0:
        os.kill(os.getpid(), point.number)


def reach_soon(name: str) -> None:
    """Pass the failpoint right after the running task's next write to a socket.

    For failpoints between a request and its response: call it just before the request is sent.
    """
    if name in _armed:
        asyncio.get_running_loop().call_soon(reach, name)
