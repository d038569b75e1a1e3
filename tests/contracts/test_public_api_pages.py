"""The pages: readable, safe, and usable without JavaScript."""

import asyncio
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

import pytest

from services.contracts.links import comment_path
from tests.client import LINK, Client, HttpResponse, Person
from tests.contracts.shapes import check_problem
from tests.smtp_sink import SmtpSink
from tests.stack import Stack
from tests.waiting import eventually

VOID = {"meta", "link", "input", "img", "br", "hr", "col"}


class Page(HTMLParser):
    """The elements of a page; fails on tags that do not close in order."""

    def __init__(self, answer: HttpResponse) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        self.text = answer.body.decode()
        self.feed(self.text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def form(self, action: str) -> dict[str, str | None]:
        return next(one for one in self.all("form") if one["action"] == action)


def check_page(answer: HttpResponse, status: int = 200) -> Page:
    assert answer.status == status, answer.body
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] in ("no-referrer", "same-origin")
    page = Page(answer)
    for script in page.all("script"):  # data, which nothing runs, or a module of ours
        assert script["type"] == "application/ld+json" or str(script["src"]).startswith("/static/scripts-")
    assert not any("style" in attributes for _, attributes in page.elements)
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert len(page.all("h1")) == 1
    assert page.all("html")[0]["lang"] == "en"
    return page


class Browser:
    """A user agent with a cookie that submits forms."""

    def __init__(self, client: Client, sink: SmtpSink) -> None:
        self.client, self.sink = client, sink
        self.cookie = ""

    async def get(self, path: str) -> HttpResponse:
        return await self.client.call("GET", path, headers={"Cookie": self.cookie} if self.cookie else {})

    async def post(self, path: str, fields: dict[str, str], origin: str | None = "own") -> HttpResponse:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if self.cookie:
            headers["Cookie"] = self.cookie
        if origin is not None:
            headers["Origin"] = self.client.url if origin == "own" else origin
        return await self.client.call("POST", path, data=urlencode(fields).encode(), headers=headers)

    async def sign_in(self, name: str, email: str) -> None:
        before = len(self.sink.to(email))
        answer = await self.post("/register", {"name": name, "email": email})
        check_page(answer, 202)
        await eventually(lambda: len(self.sink.to(email)) > before, timeout=20)
        found = LINK.search(self.sink.to(email)[-1].text)
        assert found is not None
        path = f"/sign-in/{found[1]}"
        page = check_page(await self.get(path))
        page.form(path)
        entered = await self.post(path, {})
        assert (entered.status, entered.headers["Location"]) == (303, "/")
        cookie = entered.headers["Set-Cookie"]
        assert re.match(r"rapport=[^;]+; Path=/; Max-Age=\d+; HttpOnly; SameSite=Lax$", cookie)
        self.cookie = cookie.partition(";")[0]


@pytest.fixture
async def browser(client: Client, session_sink: SmtpSink) -> Browser:
    return Browser(client, session_sink)


@pytest.fixture
async def zoe(browser: Browser) -> Browser:
    await browser.sign_in("Zoë <b>", f"zoe.{uuid4().hex[:10]}@contract.example.com")
    return browser


def fields_of(page: Page) -> dict[str, str]:
    """Return the hidden fields of the comment form."""
    return {str(one["name"]): str(one["value"]) for one in page.all("input") if one.get("type") == "hidden"}


async def test_the_front_page_lists_posts(client: Client, author: Person, browser: Browser) -> None:
    posts = [await client.publish(author, title=f"<i>No. {number}</i> & co") for number in range(21)]
    page = check_page(await browser.get("/"))
    assert "&lt;i&gt;No. 20&lt;/i&gt; &amp; co" in page.text
    links = [one["href"] for one in page.all("a")]
    assert f"/posts/{posts[-1]['slug']}" in links
    older = next(str(one["href"]) for one in page.all("a") if one.get("rel") == "next")
    assert f"/posts/{posts[0]['slug']}" in [one["href"] for one in check_page(await browser.get(older)).all("a")]
    style = next(str(one["href"]) for one in page.all("link") if one["rel"] == "stylesheet")
    answer = await browser.get(style)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/css; charset=utf-8")


async def test_a_post_is_shown_with_its_discussion(
    client: Client, author: Person, anna: Person, browser: Browser
) -> None:
    post = await client.publish(author, title="Größe & Maß")
    top = await client.comment(anna, post["id"], "Top *here*")
    reply = await client.comment(author, post["id"], "A reply", parent_id=top["id"])
    page = check_page(await browser.get(f"/posts/{quote(post['slug'], safe='')}"))
    ids = [one.get("id") for one in page.all("article")]
    assert ids == [None, f"c-{top['id']}", f"c-{reply['id']}"]
    assert "<em>here</em>" in page.text
    assert (
        page.text.index(f"c-{top['id']}")
        < page.text.index('<ol class="replies">')
        < page.text.index(f"c-{reply['id']}")
    )
    assert [one for one in page.all("form") if "comments" in str(one["action"])] == []
    assert "/sign-in" in [one["href"] for one in page.all("a")]
    check_page(await browser.get("/posts/none"), 404)


async def test_a_comment_and_a_reply_by_form(client: Client, author: Person, zoe: Browser) -> None:
    post = await client.publish(author)
    path = f"/posts/{post['slug']}"
    page = check_page(await zoe.get(path))
    assert "Zoë &lt;b&gt;" in page.text
    page.form(f"{path}/comments")
    answer = await zoe.post(f"{path}/comments", fields_of(page) | {"body": "By form.\r\n\r\nTwo *lines*."})
    assert answer.status == 303
    where = answer.headers["Location"]
    shown = check_page(await zoe.get(where.partition("#")[0]))
    assert "Two <em>lines</em>." in shown.text
    top = where.partition("#c-")[2]
    form = check_page(await zoe.get(f"{path}?reply_to={top}"))
    replied = await zoe.post(f"{path}/comments", fields_of(form) | {"body": "A reply."})
    assert replied.status == 303
    tree = (await client.call("GET", f"/v1/posts/{post['id']}/comments")).json["items"]
    assert [one["id"] for one in tree] == [top]
    assert tree[0]["replies"]["items"][0]["id"] == replied.headers["Location"].partition("#c-")[2]


async def test_a_form_sent_twice_creates_one_comment(client: Client, author: Person, zoe: Browser) -> None:
    post = await client.publish(author)
    path = f"/posts/{post['slug']}"
    fields = fields_of(check_page(await zoe.get(path))) | {"body": "Once"}
    locations = {(await zoe.post(f"{path}/comments", fields)).headers["Location"] for _ in range(3)}
    assert len(locations) == 1
    assert len((await client.call("GET", f"/v1/posts/{post['id']}/comments")).json["items"]) == 1


async def test_a_refused_form_keeps_its_text(client: Client, author: Person, zoe: Browser) -> None:
    post = await client.publish(author)
    path = f"/posts/{post['slug']}"
    fields = fields_of(check_page(await zoe.get(path)))
    long = "</textarea><b>" + "x" * 10_000
    page = check_page(await zoe.post(f"{path}/comments", fields | {"body": long}), 422)
    assert 'role="alert"' in page.text
    assert "&lt;/textarea&gt;&lt;b&gt;" + "x" * 10_000 in page.text
    again = fields_of(page) | {"body": "Shorter"}
    assert (await zoe.post(f"{path}/comments", again)).status == 303


@pytest.mark.parametrize("origin", [None, "null", "https://evil.test"])
async def test_cross_site_forms_are_refused(client: Client, author: Person, zoe: Browser, origin: str | None) -> None:
    post = await client.publish(author)
    path = f"/posts/{post['slug']}/comments"
    check_page(await zoe.post(path, {"post_id": post["id"], "body": "x"}, origin), 403)
    check_page(await zoe.post("/sign-out", {}, origin), 403)
    written = await client.call(
        "POST",
        f"/v1/posts/{post['id']}/comments",
        {"body": "x"},
        headers={"Cookie": zoe.cookie} | ({"Origin": origin} if origin else {}),
    )
    assert (written.status, written.json["type"]) == (403, "/problems/cross-site")
    assert (await client.call("GET", f"/v1/posts/{post['id']}/comments")).json["items"] == []
    if origin:
        check_page(await Browser(client, zoe.sink).post("/sign-in/x", {}, origin), 403)


async def test_the_cookie_authenticates_api_calls(client: Client, author: Person, zoe: Browser, stack: Stack) -> None:
    post = await client.publish(author)
    own = {"Cookie": zoe.cookie, "Origin": stack.url}
    made = await client.call("POST", f"/v1/posts/{post['id']}/comments", {"body": "x"}, headers=own)
    assert made.status == 201
    read = await client.call("GET", "/v1/me", headers={"Cookie": zoe.cookie})
    assert read.json["name"] == "Zoë <b>"
    assert read.headers["Cache-Control"] == "private, no-cache"


async def test_signing_out_ends_the_session(client: Client, zoe: Browser) -> None:
    answer = await zoe.post("/sign-out", {})
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    assert "Max-Age=0" in answer.headers["Set-Cookie"]
    assert (await client.call("GET", "/v1/me", headers={"Cookie": zoe.cookie})).status == 401
    assert (await zoe.get("/")).status == 200


async def test_a_link_pressed_twice_by_one_browser_signs_in_once(
    client: Client, session_sink: SmtpSink, stack: Stack
) -> None:
    email = f"two.{uuid4().hex[:10]}@contract.example.com"
    browser = Browser(client, session_sink)
    check_page(await browser.post("/register", {"name": "Two", "email": email}), 202)
    await eventually(lambda: session_sink.to(email), timeout=20)
    found = LINK.search(session_sink.to(email)[-1].text)
    assert found is not None
    shown = await browser.get(path := f"/sign-in/{found[1]}")
    browser.cookie = shown.headers["Set-Cookie"].partition(";")[0]

    async def press(pause: float) -> HttpResponse:
        await asyncio.sleep(pause)
        return await browser.post(path, {})

    answers = await asyncio.gather(*(press(pause) for pause in (0, 0.005, 0.02, 0.08, 0.3)))
    assert {answer.status for answer in answers} == {303}
    assert len({answer.headers["Set-Cookie"].partition(";")[0] for answer in answers}) == 1
    check_page(await Browser(client, session_sink).post(path, {}), 410)
    check_problem(await client.call("POST", "/v1/sessions", {"token": found[1]}), 410, "link-used-or-expired")


async def test_an_invalid_address_is_explained_in_the_page(browser: Browser) -> None:
    page = check_page(await browser.post("/register", {"name": "N <i>", "email": "nonsense"}), 422)
    assert 'role="alert"' in page.text
    assert 'value="N &lt;i&gt;"' in page.text
    assert 'value="nonsense"' in page.text
    check_page(await browser.get("/sign-in"))


@pytest.mark.parametrize("path", ["/sign-in/abc", "/unsubscribe/abc"])
async def test_pages_with_secret_links_are_not_cached(browser: Browser, path: str) -> None:
    answer = await browser.get(path)
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_used_link_is_explained(browser: Browser, client: Client) -> None:
    check_page(await browser.post("/sign-in/" + "x" * 43, {}), 404)


async def test_long_discussions_span_pages(client: Client, author: Person, anna: Person, zoe: Browser) -> None:
    post = await client.publish(author)
    for number in range(51):
        await client.comment(anna, post["id"], f"No. {number}")
    path = f"/posts/{post['slug']}"
    first = check_page(await zoe.get(path))
    later = next(str(one["href"]) for one in first.all("a") if one.get("rel") == "next")
    assert "No. 50" in check_page(await zoe.get(path + later.partition("#")[0])).text
    answer: Any = await zoe.post(f"{path}/comments", fields_of(first) | {"body": "Far away"})
    assert "Far away" in check_page(await zoe.get(answer.headers["Location"].partition("#")[0])).text


async def test_the_address_of_a_comment_shows_it_on_whatever_page_it_stands(
    client: Client, author: Person, anna: Person, moderator: Person, browser: Browser, zoe: Browser
) -> None:
    post = await client.publish(author)
    for number in range(51):
        last = await client.comment(anna, post["id"], f"No. {number}")
    line = [last]
    for number in range(25):
        line.append(await client.comment(anna, post["id"], f"Below {number}", parent_id=line[-1]["id"]))

    async def shown(comment: dict[str, Any], status: int = 200) -> list[str]:
        address = comment_path(post["slug"], comment["id"])
        page = check_page(await browser.get(address.partition("#")[0]), status)
        return [str(one["id"]).removeprefix("c-") for one in page.all("article") if one.get("id")]

    for depth in (0, 1, 20, 25):
        found, nearest = await shown(line[depth]), line[max(0, depth - 5) : depth + 1]
        assert found[: len(nearest)] == [one["id"] for one in nearest], depth
    assert (await client.call("DELETE", f"/v1/comments/{line[20]['id']}", who=anna)).status == 204
    assert (await shown(line[20]))[5] == line[20]["id"], "as a tombstone, because there are replies"
    assert (await client.call("POST", f"/v1/comments/{line[25]['id']}/hold", who=moderator)).status == 200
    assert line[25]["id"] not in await shown(line[25], 404)
    assert (await shown(line[24]))[5] == line[24]["id"]
