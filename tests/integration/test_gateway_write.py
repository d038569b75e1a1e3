"""The pages on which authors write, over fake services: what is sent, and how a refused form comes back."""

from html import unescape
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.chassis.client.client import ServiceResponse
from services.chassis.errors import FieldError, Problem, invalid, unavailable
from services.chassis.identity import Signer
from services.contracts.body_sizes import IMAGE_BYTES
from tests.integration.gateway_harness import ANNA, ID, POST, SLUG, GatewayHarness, NewHarness
from tests.unit.gateway_fakes import Call, answered

KEY = "01936f6e-0000-7000-8000-0000000000ff"
IMAGE = "01936f6e-0000-7000-8000-0000000000aa"
PNG = b"\x89PNG\r\n\x1a\n\r\n--x\r\n"
DRAFT = POST | {"status": "draft", "published_at": None}
SCHEDULED = DRAFT | {"status": "scheduled", "publish_at": "2027-01-31T09:00:00.000Z"}
FORM = {"for": ANNA, "key": KEY, "title": "On <beans>", "body": "Sow *them*.\r\nNow.", "slug": "", "discussion": "held"}


@pytest.fixture
async def harness(new_harness: NewHarness) -> GatewayHarness:
    made = await new_harness()
    made.services.posts.on("POST", "/posts", lambda _: answered(POST | {"status": "draft"}, 201))
    made.services.posts.on("PATCH", f"/posts/{ID}", lambda _: answered(POST))
    for step in ("publish", "withdraw"):
        made.services.posts.on("POST", f"/posts/{ID}/{step}", lambda _: answered(POST))
    made.services.comments.on("GET", f"/posts/{ID}/version", {"epoch": 0, "version": 99})
    image = {"id": IMAGE, "width": 40, "height": 30}
    made.services.posts.on("POST", "/images", lambda _: answered(image, 201))
    made.services.posts.on("POST", "/preview", lambda call: {"body_html": f"<p><b>{len(call.body['body'])}</b></p>"})
    return made


async def sent(harness: GatewayHarness, path: str, files: Any = None, **changes: str) -> Any:
    return await harness.http.post(path, data=FORM | changes, files=files, headers=harness.anna)


def bodies(harness: GatewayHarness, method: str, path: str) -> list[Any]:
    return [call.body for call in harness.services.posts.calls if (call.method, call.path) == (method, path)]


async def test_only_authors_write(harness: GatewayHarness, keys: dict[str, str]) -> None:
    assert (await harness.get("/write")).status_code == 401
    token = Signer(keys["PEOPLE_SIGNING_KEY"], "people").token("rapport", UUID(ANNA), [], 900, session_id=uuid4())
    reader = {"Authorization": f"Bearer {token}"}
    assert (await harness.get("/write", **reader)).status_code == 403
    refused = await harness.http.post("/write", data=FORM | {"step": "publish"}, headers=reader)
    assert refused.status_code == 403
    assert "Sow *them*." in refused.text
    assert harness.services.posts.count("POST", "/posts") == 0
    assert (await harness.get("/me/posts", **reader)).status_code == 403
    assert (await harness.get(f"/posts/{SLUG}/edit")).status_code == 401


async def test_a_form_is_shown_to_who_may_send_it(harness: GatewayHarness) -> None:
    harness.services.posts.on("GET", f"/posts/{SLUG}", POST | {"author_id": str(uuid4())})
    for path in (f"/posts/{SLUG}/edit", f"/posts/{SLUG}/delete"):
        refused = await harness.get(path, **harness.anna)
        assert (refused.status_code, "admins may change it" in refused.text) == (403, True)


@pytest.mark.parametrize(("step", "publish"), [("publish", True), ("save", False), ("", False)])
async def test_a_post_is_stored_as_its_button_says(harness: GatewayHarness, step: str, publish: bool) -> None:
    done = await sent(harness, "/write", step=step)
    assert done.status_code == 303
    assert done.headers["location"] == (f"/posts/{SLUG}" if publish else f"/posts/{SLUG}/edit?done=saved")
    call = harness.services.posts.last("POST", "/posts")
    assert call.body == {"title": "On <beans>", "body": "Sow *them*.\nNow.", "discussion": "held", "publish": publish}
    assert call.headers == {"Idempotency-Key": KEY}
    await sent(harness, "/write", slug=" beans ")
    assert harness.services.posts.last("POST", "/posts").body["slug"] == "beans"


@pytest.mark.parametrize(
    ("problem", "status", "says"),
    [
        (invalid("slug", "is taken"), 422, "The address is taken."),
        (invalid("title", "must show something"), 422, "The title must show something."),
        (unavailable("Busy."), 503, "Press the button again in a moment."),
        (Problem("too-many-requests", headers={"Retry-After": "7"}), 429, "in 7 seconds"),
    ],
)
async def test_a_refused_post_comes_back_whole(
    harness: GatewayHarness, problem: Problem, status: int, says: str
) -> None:
    harness.services.posts.on("POST", "/posts", problem)
    refused = await sent(harness, "/write", slug="beans", step="publish")
    assert refused.status_code == status
    assert says in refused.text
    assert 'value="On &lt;beans&gt;"' in refused.text
    assert "Sow *them*.\nNow.</textarea>" in refused.text
    assert 'value="beans"' in refused.text
    assert 'value="held" selected' in refused.text
    assert f'value="{KEY}"' in refused.text


async def test_the_longest_text_is_taken_and_a_longer_one_comes_back(harness: GatewayHarness) -> None:
    longest = "각" * 60_000  # nine bytes each in the form
    assert (await sent(harness, "/write", body=longest)).status_code == 303
    assert harness.services.posts.last("POST", "/posts").body["body"] == longest
    refused = await sent(harness, "/write", body="각" * 200_000)
    assert (refused.status_code, "각각각</textarea>" in refused.text) == (413, True)


async def test_an_edit_is_stored_for_the_version_that_was_opened(harness: GatewayHarness) -> None:
    page = (await harness.get(f"/posts/{SLUG}/edit", **harness.anna)).text
    assert f'name="version" value="0-{POST["version"]}"' in page
    assert ">Saved.</p>" in (await harness.get(f"/posts/{SLUG}/edit?done=saved", **harness.anna)).text
    done = await sent(harness, f"/write/{ID}", version="0-3", step="update", edit_note="When.")
    assert (done.status_code, done.headers["location"]) == (303, f"/posts/{SLUG}")
    call = harness.services.posts.last("PATCH", f"/posts/{ID}")
    assert call.headers == {"If-Match": '"3-form"', "Idempotency-Key": KEY}
    assert call.body == {"title": "On <beans>", "body": "Sow *them*.\nNow.", "discussion": "held", "edit_note": "When."}
    await sent(harness, f"/write/{ID}", version="1700-3", step="update")
    assert harness.services.posts.last("PATCH", f"/posts/{ID}").headers["If-Match"] == '"3-e1700-form"'


@pytest.mark.parametrize("version", ["0-1\r\nX: y", "x\n-1", "1", "-", "0-²", "0-" + "9" * 30])
async def test_a_version_that_is_none_is_not_sent(harness: GatewayHarness, version: str) -> None:
    assert (await sent(harness, f"/write/{ID}", version=version, step="update")).status_code == 303
    assert "If-Match" not in harness.services.posts.last("PATCH", f"/posts/{ID}").headers


@pytest.mark.parametrize(
    ("step", "now", "location"),
    [
        ("update", {}, f"/posts/{SLUG}"),
        ("publish", {"status": "draft", "published_at": None}, f"/posts/{SLUG}"),
        ("schedule", {"status": "scheduled", "publish_at": "2027-01-31T09:00:00.000Z"},
         f"/posts/{SLUG}/edit?done=scheduled"),
        ("autosave", {"status": "draft", "published_at": None}, None),
    ],
)  # fmt: skip
async def test_a_second_press_of_a_button_that_stored_the_edit_goes_on_from_there(
    harness: GatewayHarness, step: str, now: dict[str, Any], location: str | None
) -> None:
    stored = POST | {"title": "On <beans>", "body": "Sow *them*.\nNow.", "discussion": "held", "edit_note": "When.",
                     "tags": ["Beans"], "version": 8} | now  # fmt: skip
    harness.services.posts.on("GET", f"/posts/{ID}", stored)
    harness.services.posts.on("PATCH", f"/posts/{ID}", Problem("idempotency-key-reused"))
    form = {"version": "0-7", "step": step, "edit_note": "When.", "title": " On <beans> ", "tags": "beans",
            "publish_at": "2027-01-31T09:00"}  # fmt: skip
    done = await sent(harness, f"/write/{ID}", **form)
    if location is None:
        assert (done.status_code, done.json()["version"]) == (200, "0-8")
    else:
        assert (done.status_code, done.headers["location"]) == (303, location)
    assert bodies(harness, "PATCH", f"/posts/{ID}") == []
    assert len(bodies(harness, "POST", f"/posts/{ID}/publish")) == (step == "publish")
    assert (await sent(harness, f"/write/{ID}", **form | {"body": "Else."})).status_code == 422
    assert (await sent(harness, f"/write/{ID}", **form | {"edit_note": "Why."})).status_code == 422


async def test_a_stale_edit_comes_back_and_may_overwrite(harness: GatewayHarness) -> None:
    harness.services.posts.on("PATCH", f"/posts/{ID}", Problem("stale"))
    refused = await sent(harness, f"/write/{ID}", version="0-3", step="update")
    assert refused.status_code == 412
    assert "changed meanwhile" in refused.text
    assert 'value="overwrite"' in refused.text
    assert "Sow *them*." in refused.text
    assert "Some *text*.</textarea>" in refused.text  # what is stored, beside it
    assert f'name="seen" value="0-{POST["version"]}"' in refused.text
    harness.services.posts.on("PATCH", f"/posts/{ID}", lambda _: answered(POST))
    assert (await sent(harness, f"/write/{ID}", version="0-3", seen="0-7", step="overwrite")).status_code == 303
    assert harness.services.posts.last("PATCH", f"/posts/{ID}").headers["If-Match"] == '"7-form"'


@pytest.mark.parametrize("step", ["publish", "withdraw"])
async def test_a_post_is_published_and_withdrawn_with_its_edit(harness: GatewayHarness, step: str) -> None:
    assert (await sent(harness, f"/write/{ID}", version="0-3", step=step)).status_code == 303
    assert [call.path for call in harness.services.posts.calls if call.method in ("PATCH", "POST")][-2:] == [
        f"/posts/{ID}", f"/posts/{ID}/{step}"
    ]  # fmt: skip


async def test_nothing_is_stored_for_somebody_else_or_by_a_made_up_choice(harness: GatewayHarness) -> None:
    assert (await sent(harness, "/write", **{"for": str(uuid4())})).status_code == 409
    assert (await sent(harness, "/write", discussion="shouting")).status_code == 422
    assert (await sent(harness, "/write/x")).status_code == 404
    assert harness.services.posts.count("POST", "/posts") == 0


async def test_ones_posts_are_listed_by_status(harness: GatewayHarness) -> None:
    page = (await harness.get("/me/posts?status=published", **harness.anna)).text
    assert f'href="/posts/{SLUG}/edit"' in page
    assert 'aria-current="page">Published' in page
    assert harness.services.posts.last("GET", "/posts").params == {"status": "published", "author": "me"}
    assert (await harness.get("/me/posts?status=secret", **harness.anna)).status_code == 404
    await harness.get("/me/posts?status=scheduled&kind=page&cursor=x", **harness.anna)
    asked = harness.services.posts.last("GET", "/posts").params
    assert asked == {"status": "scheduled", "author": "me", "kind": "page", "cursor": "x"}
    assert (await harness.get("/me/posts?kind=book", **harness.anna)).status_code == 404


async def test_what_was_chosen_is_stored_with_the_post(harness: GatewayHarness) -> None:
    chosen = {"tags": " beans, garden،,", "excerpt": " Short. ", "cover": IMAGE, "kind": "page"}
    assert (await sent(harness, "/write", **chosen)).status_code == 303
    body = harness.services.posts.last("POST", "/posts").body
    assert body.items() >= {
        "tags": ["beans", "garden"], "excerpt": "Short.", "cover": IMAGE, "kind": "page"
    }.items()  # fmt: skip
    assert (await sent(harness, "/write", cover="x")).status_code == 422


async def test_an_edit_sends_what_differs(harness: GatewayHarness) -> None:
    stored = POST | {"tags": ["beans"], "excerpt": "Mine.", "has_own_excerpt": True, "cover": IMAGE}
    harness.services.posts.on("GET", f"/posts/{ID}", stored)
    same = {"title": POST["title"], "body": POST["body"], "slug": SLUG, "discussion": "open"}
    same |= {"tags": "beans", "excerpt": "Mine.", "cover": IMAGE}
    await sent(harness, f"/write/{ID}", **same)
    assert bodies(harness, "PATCH", f"/posts/{ID}")[-1] == {"discussion": "open"}
    await sent(harness, f"/write/{ID}", **same | {"slug": "", "tags": "", "excerpt": "", "cover": ""})
    assert bodies(harness, "PATCH", f"/posts/{ID}")[-1] == {
        "discussion": "open", "tags": [], "excerpt": None, "cover": None
    }  # fmt: skip
    page = (await harness.get(f"/posts/{SLUG}/edit", **harness.anna)).text
    assert "made from the title" not in page
    made = POST | {"excerpt": "Made of the text."}  # it is no choice of the author, and follows the text
    harness.services.posts.on("GET", f"/posts/{SLUG}", made)
    assert "Made of the text." not in (await harness.get(f"/posts/{SLUG}/edit", **harness.anna)).text


async def test_a_preview_shows_the_text_and_keeps_the_form(harness: GatewayHarness) -> None:
    shown = await sent(harness, "/write", step="preview", slug="beans", tags="a, b", edit_note="x")
    assert (shown.status_code, "<p><b>16</b></p>" in shown.text) == (200, True)
    assert all(f'value="{value}"' in shown.text for value in ("On &lt;beans&gt;", "beans", "a, b", KEY))
    edited = await sent(harness, f"/write/{ID}", step="preview", version="0-3", edit_note="When.")
    assert 'name="version" value="0-3"' in edited.text
    assert 'value="When."' in edited.text
    harness.services.posts.on("POST", "/preview", invalid("body", "must show something"))
    refused = await sent(harness, "/write", step="preview")
    assert (refused.status_code, "The text must show something." in refused.text) == (422, True)
    assert harness.services.posts.count("POST", "/posts") == 0
    assert harness.services.posts.count("PATCH", f"/posts/{ID}") == 0


async def test_a_chosen_picture_is_put_into_the_text(harness: GatewayHarness) -> None:
    files = {"picture": ("my bean.png", PNG, "image/png"), "cover_picture": ("", b"", "application/octet-stream")}
    shown = await sent(harness, "/write", files, step="picture", alt="A [bean]\nin *May*")
    assert shown.status_code == 200
    call = harness.services.posts.last("POST", "/images")
    assert (call.body, call.headers["Content-Type"]) == (PNG, "image/png")
    text = unescape(shown.text)
    picture = f"![A \\[bean\\] in \\*May\\*](http://rapport.test/images/{IMAGE}.webp)"
    assert f"Sow *them*.\nNow.\n\n{picture}\n</textarea>" in text
    assert f'name="cover" value="{IMAGE}"' in text
    assert "Look it over" in text
    placed = await sent(harness, "/write", files, step="save", body="Above ![]() below")
    assert f"Above ![](http://rapport.test/images/{IMAGE}.webp) below" in placed.text
    assert "say what it shows" in placed.text
    assert harness.services.posts.count("POST", "/posts") == 0


async def test_a_script_sends_pictures_and_asks_for_previews(harness: GatewayHarness) -> None:
    harness.anna["Accept"] = "application/json"
    stored = await sent(harness, "/write/pictures", {"picture": ("x.png", PNG, "image/png")})
    url = f"http://rapport.test/images/{IMAGE}.webp"
    assert (stored.status_code, stored.json()) == (201, {"id": IMAGE, "url": url, "width": 40, "height": 30})
    harness.services.posts.on("POST", "/images", invalid("", "is too wide"))
    for files, says in [
        ({"picture": ("x.png", PNG, "image/png")}, "The picture is too wide."),
        (None, "The picture must be chosen first."),
    ]:
        refused = await sent(harness, "/write/pictures", files)
        assert (refused.status_code, refused.json()["sentence"]) == (422, says)
    stranger = await sent(harness, "/write/pictures", {"picture": ("x.png", PNG, "image/png")}, **{"for": str(uuid4())})
    assert stranger.json()["kind"] == "wrong-state"
    for path in ("/write", f"/write/{ID}"):
        shown = await sent(harness, path, step="preview", body="four")
        assert (shown.status_code, shown.json()) == (200, {"body_html": "<p><b>4</b></p>"})


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"<svg/>", "The picture must be a PNG, JPEG, WebP or GIF file."),
        (PNG + bytes(IMAGE_BYTES), "The picture must have at most 5 MiB."),
        (b"", "The picture must be chosen first."),
    ],
)
async def test_what_is_no_picture_comes_back_at_its_field(harness: GatewayHarness, data: bytes, says: str) -> None:
    refused = await sent(harness, "/write", {"picture": ("x.png", data, "image/png")}, step="picture", alt="Bean")
    assert (refused.status_code, says in refused.text) == (422, True)
    assert "Sow *them*.\nNow.</textarea>" in refused.text
    assert 'id="picture-error"' in refused.text
    assert 'value="Bean"' in refused.text
    assert harness.services.posts.count("POST", "/images") == 0


async def test_a_cover_stays_chosen_when_its_form_comes_back(harness: GatewayHarness) -> None:
    files = {"cover_picture": ("bean.png", PNG, "image/png")}
    assert (await sent(harness, "/write", files)).status_code == 303
    assert harness.services.posts.last("POST", "/posts").body["cover"] == IMAGE
    harness.services.posts.on("POST", "/posts", invalid("slug", "is taken"))
    refused = await sent(harness, "/write", files, slug="beans")
    assert f'name="cover" value="{IMAGE}" checked' in refused.text


@pytest.mark.parametrize("path", ["/write", f"/write/{ID}"])
async def test_a_second_press_with_a_new_cover_is_one_with_the_first(harness: GatewayHarness, path: str) -> None:
    posts, stored = harness.services.posts, dict[str, str]()

    def store(call: Call) -> ServiceResponse:  # as posts does: a key is answered with what it stored
        key = call.headers.get("Idempotency-Key") or str(uuid4())
        return answered({"id": stored.setdefault(key, str(uuid4())), "width": 40, "height": 30}, 201)

    posts.on("POST", "/images", store)
    one, other = ({"cover_picture": ("bean.png", PNG + more, "image/png")} for more in (b"", b"more"))
    for files in (one, one, other):
        assert (await sent(harness, path, files)).status_code == 303
    method = "POST" if path == "/write" else "PATCH"
    write = bodies(harness, method, "/posts" if path == "/write" else f"/posts/{ID}")
    assert [body["cover"] for body in write] == [*[next(iter(stored.values()))] * 2, list(stored.values())[-1]]
    assert (len(stored), KEY in stored) == (2, False)  # the form's own key belongs to the post


async def test_a_post_is_published_at_a_time(harness: GatewayHarness) -> None:
    harness.services.posts.on("POST", "/posts", lambda _: answered(SCHEDULED, 201))
    done = await sent(harness, "/write", step="schedule", publish_at="2027-01-31T09:00")
    assert done.headers["location"] == f"/posts/{SLUG}/edit?done=scheduled"
    assert harness.services.posts.last("POST", "/posts").body["publish_at"] == "2027-01-31T09:00:00Z"
    for ref in (ID, SLUG):
        harness.services.posts.on("GET", f"/posts/{ref}", SCHEDULED)
    harness.services.posts.on("PATCH", f"/posts/{ID}", lambda _: answered(SCHEDULED))
    page = (await harness.get(f"/posts/{SLUG}/edit", **harness.anna)).text
    assert 'value="2027-01-31T09:00"' in page
    assert "31 January 2027, 09:00 UTC" in page
    for step, value, stored in [
        ("save", "2027-01-31T09:00", "absent"),
        ("save", "2027-02-01T10:00", "2027-02-01T10:00:00Z"),
        ("schedule", "2027-02-02T10:00:30", "2027-02-02T10:00:00Z"),
        ("unschedule", "2027-01-31T09:00", None),
    ]:
        assert (await sent(harness, f"/write/{ID}", step=step, publish_at=value)).status_code == 303
        assert bodies(harness, "PATCH", f"/posts/{ID}")[-1].get("publish_at", "absent") == stored


@pytest.mark.parametrize("value", ["", "tomorrow", "31.1.2027 09:00"])
async def test_a_time_that_is_none_comes_back_at_its_field(harness: GatewayHarness, value: str) -> None:
    refused = await sent(harness, "/write", step="schedule", publish_at=value)
    assert refused.status_code == 422
    assert 'id="publish_at-error">The time must be' in refused.text
    assert harness.services.posts.count("POST", "/posts") == 0


async def test_every_wrong_field_says_so_and_the_first_has_the_focus(harness: GatewayHarness) -> None:
    errors = [FieldError("title", "must not be empty"), FieldError("tags.1", "must not contain '/'")]
    harness.services.posts.on("POST", "/posts", Problem("invalid", errors=errors))
    refused = (await sent(harness, "/write")).text
    assert "<title>Error: " in refused
    assert 'aria-describedby="title-error" autofocus' in refused
    assert 'id="title-error">The title must not be empty.' in refused
    assert 'id="tags-error">A tag must not contain' in refused
    assert refused.count("autofocus") == 1
    harness.services.posts.on("POST", "/posts", unavailable("Busy."))
    assert 'role="alert" id="refused" tabindex="-1" autofocus' in (await sent(harness, "/write")).text


async def test_a_draft_is_stored_by_itself(harness: GatewayHarness) -> None:
    harness.services.posts.on("GET", f"/posts/{ID}", DRAFT)
    first = await sent(harness, "/write", step="autosave")
    assert first.status_code == 200
    assert first.json() == {
        "action": f"/write/{ID}", "version": f"0-{POST['version']}", "key": first.json()["key"], "slug": SLUG,
        "edit": f"/posts/{SLUG}/edit", "delete": f"/posts/{SLUG}/delete",
    }  # fmt: skip
    assert first.json()["key"] != KEY
    assert harness.services.posts.last("POST", "/posts").body["publish"] is False
    again = await sent(harness, first.json()["action"], step="autosave", version=first.json()["version"])
    assert again.status_code == 200
    harness.services.posts.on("PATCH", f"/posts/{ID}", invalid("slug", "is taken"))
    harness.anna["Accept"] = "application/json"
    refused = await sent(harness, f"/write/{ID}", step="autosave", slug="x")
    assert (refused.status_code, refused.json()) == (
        422, {"kind": "invalid", "sentence": "The address is taken.", "field": "slug"}
    )  # fmt: skip
    stranger = await sent(harness, f"/write/{ID}", step="autosave", **{"for": str(uuid4())})
    assert (stranger.status_code, stranger.json()["kind"]) == (409, "wrong-state")
    long = await sent(harness, f"/write/{ID}", step="autosave", body="각" * 300_000)  # so long that it is not read
    assert (long.status_code, long.json()["kind"]) == (413, "too-large")


@pytest.mark.parametrize("post", [POST, SCHEDULED, POST | {"status": "withdrawn"}])
async def test_what_is_or_will_be_public_is_not_stored_by_itself(harness: GatewayHarness, post: Any) -> None:
    harness.services.posts.on("GET", f"/posts/{ID}", post)
    assert (await sent(harness, f"/write/{ID}", step="autosave")).status_code == 409
    assert harness.services.posts.count("PATCH", f"/posts/{ID}") == 0


async def test_a_text_comes_back_though_its_post_cannot_be_asked_for(harness: GatewayHarness) -> None:
    for problem, action, offers in [
        (unavailable("Busy."), f"/write/{ID}", 'value="update"'),
        (Problem("not-found"), "/write", 'value="publish"'),
    ]:
        harness.services.posts.on("GET", f"/posts/{ID}", problem)
        refused = await sent(harness, f"/write/{ID}", step="update", status="published", version="0-3")
        assert refused.status_code == problem.status
        assert "Sow *them*.\nNow.</textarea>" in refused.text
        assert f'action="{action}" id="post-form"' in refused.text
        assert offers in refused.text


async def test_a_form_of_somebody_signed_out_comes_back_for_the_same_person(harness: GatewayHarness) -> None:
    refused = await harness.http.post("/write", data=FORM | {"step": "publish"})
    assert refused.status_code == 401
    assert "Sow *them*.\nNow.</textarea>" in refused.text
    assert f'name="for" value="{ANNA}"' in refused.text
    assert "Sign in in a new tab" in refused.text


async def test_a_key_that_stored_something_else_is_replaced(harness: GatewayHarness) -> None:
    harness.services.posts.on("POST", "/posts", Problem("idempotency-key-reused"))
    refused = await sent(harness, "/write")
    assert (refused.status_code, f'name="key" value="{KEY}"' in refused.text) == (422, False)


async def test_a_browser_hears_which_form_was_stored(harness: GatewayHarness) -> None:
    done = await sent(harness, "/write", step="save")
    assert done.headers["set-cookie"].startswith(f"rapport_stored={KEY}; Path=/write; ")


async def test_a_draft_is_deleted_after_a_question(harness: GatewayHarness) -> None:
    harness.services.posts.on("DELETE", f"/posts/{ID}", lambda _: answered(None, 204))
    harness.services.posts.on("GET", f"/posts/{SLUG}", DRAFT)
    harness.services.posts.on("GET", f"/posts/{ID}", DRAFT)
    question = (await harness.get(f"/posts/{SLUG}/delete", **harness.anna)).text
    assert f'action="/write/{ID}/delete"' in question
    assert POST["title"] in question
    assert harness.services.posts.count("DELETE", f"/posts/{ID}") == 0
    form = {"for": ANNA, "version": "0-3"}
    done = await harness.http.post(f"/write/{ID}/delete", data=form, headers=harness.anna)
    assert (done.status_code, done.headers["location"]) == (303, "/me/posts?done=deleted")
    assert harness.services.posts.last("DELETE", f"/posts/{ID}").headers == {"If-Match": '"3-form"'}
    harness.services.posts.on("DELETE", f"/posts/{ID}", Problem("stale"))
    refused = await harness.http.post(f"/write/{ID}/delete", data=form, headers=harness.anna)
    assert (refused.status_code, "changed meanwhile" in refused.text) == (412, True)
    harness.services.posts.on("DELETE", f"/posts/{ID}", Problem("not-found"))
    harness.services.posts.on("GET", f"/posts/{ID}", Problem("not-found"))
    assert (await harness.http.post(f"/write/{ID}/delete", data=form, headers=harness.anna)).status_code == 404
    assert (await harness.http.post(f"/write/{ID}/delete", data=form)).status_code == 401


@pytest.mark.parametrize("post", [POST, SCHEDULED, POST | {"status": "withdrawn"}])
async def test_what_is_no_draft_is_not_offered_to_be_deleted(harness: GatewayHarness, post: Any) -> None:
    harness.services.posts.on("GET", f"/posts/{SLUG}", post)
    page = await harness.get(f"/posts/{SLUG}/delete", **harness.anna)
    assert (page.status_code, f"/write/{ID}/delete" in page.text) == (200, False)
    assert f'href="/posts/{SLUG}/edit"' in page.text


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=x", "text/html"])
async def test_a_form_in_no_known_encoding_is_refused(harness: GatewayHarness, kind: str) -> None:
    headers = harness.anna | {"Content-Type": kind}
    refused = await harness.http.post("/write", content=b"--y\r\n\r\n\r\n--y--", headers=headers)
    assert refused.status_code in (415, 422)
    assert 'id="post-form"' in refused.text
