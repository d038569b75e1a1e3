"""Writes of the API are answered alike, whether they go past the layers of pages and reads or through them."""

import re
from typing import Any
from uuid import uuid4

import httpx2
import orjson
import pytest

from services.chassis.errors import Problem
from services.chassis.http.fast_path import FastPath
from services.gateway.language_choice import LanguageMiddleware
from tests.integration.gateway_harness import COMMENT_ID, ID, GatewayHarness, NewHarness
from tests.unit.gateway_fakes import raw_comment

PATH = f"/v1/posts/{ID}/comments"
ALL = orjson.dumps({"body": "Well said."})
LEFT = re.compile(r"(?<=;)r=\d+;t=\d+")  # of a quota
REQUESTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a comment": ("POST", PATH, {"content": ALL}),
    "refused by comments": ("POST", PATH, {"content": orjson.dumps({"body": "alone"})}),
    "not signed in": ("POST", PATH, {"content": ALL, "headers": {"Authorization": "none"}}),
    "another type": ("POST", PATH, {"content": b"x", "headers": {"Content-Type": "text/plain"}}),
    "no JSON": ("POST", PATH, {"content": b"{"}),
    "an unknown parameter": ("POST", PATH + "?a=1", {"content": ALL}),
    "no such comment": ("DELETE", "/v1/comments/none", {}),
    "a method that there is not": ("PUT", PATH, {"content": ALL}),
    "no such path": ("POST", "/v1/nothing", {}),
    "NUL in the path": ("POST", "/v1/posts/%00/comments", {"content": ALL}),
}


async def answer(harness: GatewayHarness, name: str) -> tuple[int, list[tuple[str, str]], Any]:
    """Return status, headers in their order and body of the answer, without what differs each time."""
    method, path, options = REQUESTS[name]
    harness.services.comments.on(
        "POST",
        "/comments/batch",
        lambda call: {"items": [None if "alone" in str(item) else raw_comment(1) for item in call.body["items"]]},
    )
    harness.services.comments.on("POST", f"/posts/{ID}/comments", Problem("discussion-closed", "It is closed."))
    token = harness._signer.token("rapport", uuid4(), ["reader"], 900, session_id=uuid4())
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "X-Request-ID": "mine"}
    sent: httpx2.Response = await harness.http.request(
        method, path, **options | {"headers": headers | options.get("headers", {})}
    )
    kept = [(name, LEFT.sub("", value)) for name, value in sent.headers.multi_items()]
    return sent.status_code, kept, sent.json()


@pytest.mark.parametrize("name", REQUESTS)
async def test_both_ways_answer_alike(name: str, new_harness: NewHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    direct = await answer(await new_harness(rate_limits="on"), name)
    monkeypatch.setattr(FastPath, "finds", lambda *_: False)
    by_fastapi = await answer(await new_harness(rate_limits="on"), name)
    assert direct == by_fastapi
    assert ("access-control-allow-origin", "*") in direct[1]


async def test_a_comment_passes_neither_the_choice_of_a_language_nor_fastapi(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise AssertionError("it went the way of a page")

    monkeypatch.setattr(LanguageMiddleware, "__call__", fail)
    assert (await answer(harness, "a comment"))[0] == 201


async def test_a_write_ends_with_its_answer_on_both_ways_and_not_with_a_failure(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = list[object]()
    monkeypatch.setattr(harness.gateway.recent_writers, "end", ended.append)
    await answer(harness, "a comment")
    assert len(ended) == 1
    harness.services.comments.on("DELETE", f"/comments/{COMMENT_ID}", Problem("unavailable"))
    failed = await harness.http.delete(f"/v1/comments/{COMMENT_ID}", headers=harness.anna)
    assert failed.status_code == 503
    assert len(ended) == 1
    monkeypatch.setattr(FastPath, "finds", lambda *_: False)
    await answer(harness, "a comment")
    assert len(ended) == 2
