"""Answers from the cache, each with an id of its own."""

import os

from services.chassis.http.request_middleware import REQUEST_ID
from services.gateway.caching.serving import new_request_id

DRAWN = 100


def test_forks_of_one_process_draw_other_request_ids() -> None:
    """`make up` forks the services from a process that has loaded their code, and drawn what that draws."""
    new_request_id()
    ids = [new_request_id() for _ in range(DRAWN)]
    for _ in range(2):
        ids += in_a_fork()
    assert len(set(ids)) == 3 * DRAWN
    assert all(REQUEST_ID.match(one) for one in ids)


def in_a_fork() -> list[bytes]:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, b"\n".join(new_request_id() for _ in range(DRAWN)))
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as drawn:
        ids = drawn.read().split()
    os.waitpid(pid, 0)
    return ids
