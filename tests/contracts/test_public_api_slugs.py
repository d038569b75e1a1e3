"""Renamed posts in the public contract: old slugs lead on, to those who may see the post and to nobody else."""

from urllib.parse import quote
from uuid import uuid4

from tests.client import Client, HttpResponse, Person
from tests.contracts.shapes import check_cors, check_invalid, check_problem, check_read
from tests.contracts.test_public_api_posts import written


def slug() -> str:
    return f"grüße-{uuid4().hex[:8]}"


async def renamed(client: Client, author: Person, **fields: object) -> tuple[str, str, str]:
    """Create and rename a post; return its id and, percent-encoded, its former and its present slug."""
    former, present = slug(), slug()
    post = await written(client, author, slug=former, **fields)
    answer = await client.call("PATCH", f"/v1/posts/{post['id']}", {"slug": present}, who=author)
    assert (answer.status, answer.json["slug"]) == (200, present)
    assert answer.json["url"].endswith(f"/posts/{quote(present)}")
    return post["id"], quote(former), quote(present)


def check_moved(answer: HttpResponse, status: int, location: str) -> None:
    assert (answer.status, answer.headers["Location"]) == (status, location), answer.body
    assert answer.headers["Cache-Control"] == "no-cache"


async def test_every_path_of_a_former_slug_leads_on(client: Client, author: Person, anna: Person) -> None:
    _, former, present = await renamed(client, author, publish=True)
    for method, rest, who, body in (
        ("GET", "", None, None),
        ("GET", "/page", anna, None),
        ("GET", "/revisions?limit=1", None, None),
        ("GET", "/revisions/1?against=1", None, None),
        ("DELETE", "/revisions/1", author, None),
        ("GET", "/comments?sort=newest&limit=3", None, None),
        ("POST", "/comments", anna, {"body": "x"}),
        ("PUT", "/follow", anna, None),
        ("PATCH", "", author, {"title": "x"}),
        ("POST", "/publish", author, None),
        ("POST", "/withdraw", author, None),
    ):
        answer = await client.call(method, f"/v1/posts/{former}{rest}", body, who=who)
        check_moved(answer, 308, f"/v1/posts/{present}{rest}")
        check_cors(answer)
    for rest in ("", "?comments=x", "/feed.atom", "/changes?from=1&to=2"):
        answer = await client.call("GET", f"/posts/{former}{rest}")
        check_moved(answer, 301, f"/posts/{present}{rest}")
    read = await client.call("GET", f"/v1/posts/{present}")
    check_read(read)
    assert read.json["title"] == "A title"


async def test_the_cache_forgets_a_slug_at_once(client: Client, author: Person) -> None:
    former, present = slug(), slug()
    post = await written(client, author, slug=former, publish=True)
    for _ in range(2):
        assert (await client.call("GET", f"/v1/posts/{quote(former)}")).status == 200
        assert (await client.call("GET", f"/posts/{quote(former)}")).status == 200
    await client.call("PATCH", f"/v1/posts/{post['id']}", {"slug": present}, who=author)
    check_moved(await client.call("GET", f"/v1/posts/{quote(former)}"), 308, f"/v1/posts/{quote(present)}")
    check_moved(await client.call("GET", f"/posts/{quote(former)}"), 301, f"/posts/{quote(present)}")
    assert (await client.call("GET", f"/v1/posts/{quote(present)}")).status == 200
    await client.call("PATCH", f"/v1/posts/{post['id']}", {"slug": former}, who=author)
    assert (await client.call("GET", f"/v1/posts/{quote(former)}")).status == 200
    check_moved(await client.call("GET", f"/v1/posts/{quote(present)}"), 308, f"/v1/posts/{quote(former)}")


async def test_a_former_slug_of_a_withdrawn_post_leads_those_who_see_it(
    client: Client, author: Person, anna: Person, admin: Person
) -> None:
    post_id, former, present = await renamed(client, author, publish=True)
    assert (await client.call("POST", f"/v1/posts/{post_id}/withdraw", who=author)).status == 200
    for who in (None, anna):
        check_problem(await client.call("GET", f"/v1/posts/{former}", who=who), 404, "not-found")
        check_problem(await client.call("GET", f"/v1/posts/{former}/comments", who=who), 404, "not-found")
    assert (await client.call("GET", f"/posts/{former}")).status == 404
    for who in (author, admin):
        check_moved(await client.call("GET", f"/v1/posts/{former}", who=who), 308, f"/v1/posts/{present}")


async def test_a_former_slug_is_taken_and_one_that_was_never_public_is_not(
    client: Client, author: Person, admin: Person
) -> None:
    _, former, _ = await renamed(client, author, publish=True)
    squat = {"title": "x", "body": "y", "slug": quote_back(former)}
    check_invalid(await client.call("POST", "/v1/posts", squat, who=admin), "slug")
    other = await written(client, author)
    check_invalid(await client.call("PATCH", f"/v1/posts/{other['id']}", {"slug": squat["slug"]}, who=author), "slug")
    _, former, _ = await renamed(client, author)
    check_problem(await client.call("GET", f"/v1/posts/{former}", who=author), 404, "not-found")
    assert (await client.call("POST", "/v1/posts", squat | {"slug": quote_back(former)}, who=admin)).status == 201


def quote_back(encoded: str) -> str:
    return encoded.replace("%C3%BC", "ü").replace("%C3%9F", "ß")
