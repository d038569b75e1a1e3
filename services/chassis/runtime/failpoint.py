"""Failpoints: named places at which a test kills or pauses the process, or lets it fail, to prove that nothing is lost.

`FAILPOINTS=relay.produced:3` sends SIGKILL to the process when it passes `relay.produced` for the third time;
`relay.read:1:stop` sends SIGSTOP instead, once, and `relay.read:1:raise` raises an exception that nobody expects.
Several are separated by commas. Without the variable a failpoint costs one dictionary look-up.
"""

import asyncio
import os
import signal
from dataclasses import dataclass


@dataclass
class _Armed:
    left: int
    action: str

    def act(self) -> None:
        match self.action:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "raise":
                raise RuntimeError("a failpoint")


def _parse(text: str) -> dict[str, _Armed]:
    armed = {}
    for item in filter(None, text.split(",")):
        name, _, rest = item.strip().partition(":")
        count, _, action = rest.partition(":")
        armed[name] = _Armed(int(count or 1), action or "kill")
    return armed


_armed = _parse(os.environ.get("FAILPOINTS", ""))


def reach(name: str) -> None:
    """Pass the failpoint `name`; kill or pause the process, or raise RuntimeError, if it is armed."""
    if name not in _armed:
        return
    point = _armed[name]
    point.left -= 1
    if point.left == 0:
        point.act()


def reach_soon(name: str) -> None:
    """Pass the failpoint right after the running task's next write to a socket.

    For failpoints between a request and its response: call it just before the request is sent.
    """
    if name in _armed:
        asyncio.get_running_loop().call_soon(reach, name)
