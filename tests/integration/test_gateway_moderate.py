"""The moderators' desk over fake services: who may see it, what is decided and taken back, and what is refused."""

from html.parser import HTMLParser
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4

import pytest

from services.chassis.errors import Problem
from services.gateway.composition import queue
from services.gateway.pages.decisions import decision_of
from services.gateway.pages.forms import MOST_FIELDS
from tests.integration.gateway_harness import ANNA, ID, SLUG, GatewayHarness, NewHarness, refuse_all
from tests.unit.gateway_fakes import answered, raw_comment, raw_post

PARENT = raw_comment(1)
WAITING = [raw_comment(number, state="held", parent_id=PARENT["id"] if number == 2 else None) for number in (2, 3, 4)]
IDS = [item["id"] for item in WAITING]
TAKEN = ("approve", "reject", "hold", "restore", "put-back")


@pytest.fixture
async def harness(new_harness: NewHarness) -> GatewayHarness:
    made = await new_harness()
    made.author, made.anna = made.anna, made.token("moderator")  # type: ignore[attr-defined]
    comments = made.services.comments
    comments.on("GET", "/comments", {"items": WAITING, "next": "later"})
    comments.on("POST", "/comments/lookup", {"items": [PARENT]})
    comments.on("GET", f"/comments/{IDS[0]}/context", {"above": [PARENT], "comment": WAITING[0]})
    comments.on("GET", f"/comments/{IDS[1]}/context", {"above": [], "comment": WAITING[1]})
    posts = {"items": [{"id": ID, "status": "published", "slug": SLUG, "title": "On <beans>"}]}
    made.services.posts.on("POST", "/posts/lookup", posts)
    made.services.posts.on("GET", f"/posts/{ID}", raw_post(title="On <beans>"))
    for item in WAITING:
        for step in TAKEN:
            comments.on("POST", f"/comments/{item['id']}/{step}", lambda _, item=item: answered(item))
    return made


def decided(harness: GatewayHarness) -> list[str]:
    return [call.path for call in harness.services.comments.calls if call.path.rpartition("/")[2] in TAKEN]


def main(page: str) -> str:
    return page.partition("<main")[2].partition("</main>")[0]


def fields_of(page: str, name: str) -> dict[str, str]:
    """Return the fields of the form that has a button of this name, and the value of that button."""
    found: dict[str, str] = {}
    here: dict[str, str] = {}

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            nonlocal here
            given = {key: value or "" for key, value in attrs}
            if tag == "form":
                here = {}
            elif tag in ("input", "button") and given.get("type") != "checkbox" and "name" in given:
                here[given["name"]] = given["value"]
                if given["name"] == name:
                    found.update(here)

    Reader().feed(page)
    return found


async def test_only_moderators_see_it(harness: GatewayHarness) -> None:
    assert (await harness.get("/moderate")).status_code == 401
    author = harness.author  # type: ignore[attr-defined]
    for answer in (
        await harness.get("/moderate", **author),
        await harness.http.post("/moderate", data={"step": f"approve {IDS[0]}"}, headers=author),
        await harness.http.post("/moderate", data={"undo": f"approve held {IDS[0]}"}, headers=author),
    ):
        assert answer.status_code == 403
    assert decided(harness) == []


async def test_what_waits_is_shown_with_its_post_and_what_it_answers(harness: GatewayHarness) -> None:
    page = (await harness.get("/moderate", **harness.anna)).text
    assert page.count("<article") == 3
    assert main(page).count(' aria-current="true"') == 2  # in the list and in its surroundings
    assert "On &lt;beans&gt;" in page
    assert f'href="/posts/{SLUG}?comment={IDS[0]}#c-{IDS[0]}"' in page
    assert "/moderate?list=waiting&cursor=later" in page
    around = page.partition('id="around"')[2]
    assert [part in around for part in (PARENT["body_html"], WAITING[0]["body_html"])] == [True, True]
    assert WAITING[1]["body_html"] not in around
    other = (await harness.get(f"/moderate?comment={IDS[1]}", **harness.anna)).text.partition('id="around"')[2]
    assert (WAITING[1]["body_html"] in other, PARENT["body_html"] in other) == (True, False)


async def test_what_is_around_may_be_missing(harness: GatewayHarness) -> None:
    harness.services.comments.on("GET", f"/comments/{IDS[0]}/context", Problem("not-found"))
    answer = await harness.get("/moderate", **harness.anna)
    assert (answer.status_code, "It cannot be shown" in answer.text) == (200, True)


@pytest.mark.parametrize(
    ("name", "state", "steps"),
    [
        ("waiting", "held", ("approve", "reject")),
        ("rejected", "rejected", ("restore",)),
        ("removed", "removed", ("restore",)),
    ],
)
async def test_each_list_has_pages_and_its_steps(
    harness: GatewayHarness, name: str, state: str, steps: tuple[str, ...]
) -> None:
    page = (await harness.get(f"/moderate?list={name}&cursor=here", **harness.anna)).text
    assert harness.services.comments.last("GET", "/comments").params == {
        "state": state, "limit": str(queue.AT_ONCE), "cursor": "here"
    }  # fmt: skip
    assert main(page).count(' aria-current="page"') == 1
    assert f'/moderate?list={name}&cursor=later"' in page
    for step in ("approve", "reject", "hold", "restore"):
        assert (f'value="{step}"' in page, f'value="{step} {IDS[0]} ' in page) == (step in steps, step in steps)
    harness.services.comments.on("GET", "/comments", {"items": [], "next": None})
    assert 'class="button"' in (await harness.get(f"/moderate?list={name}", **harness.anna)).text


@pytest.mark.parametrize(
    ("step", "before", "said", "back"),
    [
        ("approve", "held", "1 comment was approved.", "hold"),
        ("reject", "held", "1 comment was rejected.", "put-back"),
        ("reject", "visible", "1 comment was rejected.", "restore"),
        ("hold", "visible", "1 comment waits for approval again.", "approve"),
        ("restore", "removed", "1 comment was restored.", "reject"),
    ],
)
async def test_one_is_decided_by_its_button_and_taken_back_by_another(
    harness: GatewayHarness, step: str, before: str, said: str, back: str
) -> None:
    form = {"for": ANNA, "list": "removed", "cursor": "c", "next": IDS[2], f"comment-{IDS[0]}": "1"}
    done = await harness.http.post("/moderate", data=form | {"step": f"{step} {IDS[1]} {before}"}, headers=harness.anna)
    assert done.status_code == 303
    place = parse_qs(urlsplit(done.headers["location"]).query)
    assert (place["list"], place["cursor"], place["comment"]) == (["removed"], ["c"], [IDS[2]])
    assert decided(harness) == [f"/comments/{IDS[1]}/{step}"]
    page = (await harness.get(done.headers["location"], **harness.anna)).text
    assert said in page
    undo = fields_of(page, "undo")
    assert undo == {"for": ANNA, "list": "removed", "cursor": "c", "undo": f"{step} {before} {IDS[1]}"}
    undone = await harness.http.post("/moderate", data=undo, headers=harness.anna)
    assert decided(harness)[1:] == [f"/comments/{IDS[1]}/{back}"]
    assert "was taken back." in (await harness.get(undone.headers["location"], **harness.anna)).text


async def test_several_are_decided_at_once_and_taken_back_together(harness: GatewayHarness) -> None:
    form = {"for": ANNA, "step": "reject", f"comment-{IDS[0]}": "1", f"comment-{IDS[2]}": "1"}
    done = await harness.http.post("/moderate", data=form, headers=harness.anna)
    assert decided(harness) == [f"/comments/{one}/reject" for one in (IDS[0], IDS[2])]
    page = (await harness.get(done.headers["location"], **harness.anna)).text
    assert "2 comments were rejected." in page
    await harness.http.post("/moderate", data=fields_of(page, "undo"), headers=harness.anna)
    assert decided(harness)[2:] == [f"/comments/{one}/put-back" for one in (IDS[0], IDS[2])]


async def test_a_full_page_can_be_decided_at_once(harness: GatewayHarness) -> None:
    ticked = {f"comment-{uuid4()}": "1" for _ in range(queue.AT_ONCE)}
    form = {"for": ANNA, "list": "waiting", "cursor": "c", "next": IDS[0], "step": "approve"} | ticked
    assert len(form) <= MOST_FIELDS
    for name in ticked:
        path = f"/comments/{name.removeprefix('comment-')}/approve"
        harness.services.comments.on(
            "POST", path, lambda _, path=path: answered(WAITING[0] | {"id": path.split("/")[2]})
        )
    done = await harness.http.post("/moderate", data=form, headers=harness.anna)
    page = (await harness.get(done.headers["location"], **harness.anna)).text
    assert f"{queue.AT_ONCE} comments were approved." in page
    assert len(fields_of(page, "undo")["undo"].split()) == queue.AT_ONCE + 2


async def test_one_that_is_refused_stops_no_other_and_is_said(harness: GatewayHarness) -> None:
    harness.services.comments.on("POST", f"/comments/{IDS[0]}/approve", Problem("wrong-state", "It was removed."))
    form = {"for": ANNA, "step": "approve", f"comment-{IDS[0]}": "1", f"comment-{IDS[1]}": "1"}
    answer = await harness.http.post("/moderate", data=form, headers=harness.anna)
    assert answer.status_code == 409
    assert "It was removed." in answer.text
    assert answer.text.count(' value="1" data-key="x" checked') == 2
    assert fields_of(answer.text, "undo")["undo"] == f"approve held {IDS[1]}"  # what was done can be taken back
    assert decided(harness) == [f"/comments/{one}/approve" for one in IDS[:2]]


async def test_a_decision_in_a_discussion_leads_back_there_and_nowhere_else(harness: GatewayHarness) -> None:
    for back, path, others, anchor in (
        (f"/posts/{SLUG}?comments=c", f"/posts/{SLUG}", {"comments": ["c"]}, f"c-{IDS[0]}"),
        (f"/posts/{SLUG}", f"/posts/{SLUG}", {}, f"c-{IDS[0]}"),
        ("https://elsewhere.test/", "/moderate", {}, "decided"),
        ("//elsewhere.test/posts/x", "/moderate", {}, "decided"),
    ):
        form = {"for": ANNA, "back": back, "step": f"hold {IDS[0]} visible"}
        done = await harness.http.post("/moderate", data=form, headers=harness.anna)
        place = urlsplit(done.headers["location"])
        query = parse_qs(place.query)
        assert query.pop("decided")[0].startswith(f"hold visible {IDS[0]}.")
        assert (done.status_code, place.netloc, place.path, query, place.fragment) == (303, "", path, others, anchor)
        page = (await harness.get(done.headers["location"], **harness.anna)).text
        assert "1 comment waits for approval again." in page


@pytest.mark.parametrize("page", ["/moderate", f"/posts/{SLUG}"])
async def test_a_link_that_somebody_made_says_nothing_of_what_was_decided(harness: GatewayHarness, page: str) -> None:
    form = {"for": ANNA, "step": f"approve {IDS[0]} held"}
    done = await harness.http.post("/moderate", data=form, headers=harness.anna)
    true = parse_qs(urlsplit(done.headers["location"]).query)["decided"][0]
    text, _, signature = true.partition(".")
    others = harness.token("moderator", person=str(uuid4()))
    for name, said, headers in (
        ("decided", text, harness.anna),
        ("decided", f"{text.replace('approve', 'reject')}.{signature}", harness.anna),
        ("decided", f"{text}.{'x' * len(signature)}", harness.anna),
        ("decided", f"{text}.é", harness.anna),
        ("undone", text, harness.anna),
        ("undone", true, harness.anna),  # it was decided, and not taken back
        ("decided", true, others),
    ):
        answer = await harness.get(f"{page}?{urlencode({name: said})}", **headers)
        assert (answer.status_code, 'id="decided"' in answer.text) == (200, False), (name, said)
    assert 'id="decided"' in (await harness.get(f"{page}?{urlencode({'decided': true})}", **harness.anna)).text


@pytest.mark.parametrize("why", ["signed out", "too often", "people away", "comments away"])
async def test_what_was_chosen_comes_back_where_the_list_cannot_be_had(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    sent = {"for": ANNA, "list": "removed", "cursor": "c", "next": IDS[2], "step": "restore"}
    sent |= {f"comment-{IDS[0]}": "1", f"comment-{IDS[2]}": "1"}
    headers = harness.anna
    with monkeypatch.context() as until:
        if why == "signed out":
            headers = {}
        elif why == "too often":
            refuse_all(until)
        elif why == "people away":
            until.setattr(harness.services.people, "away", True)
            headers = {"Cookie": "rapport=unknown", "Origin": "http://rapport.test"}
        else:
            until.setattr(harness.services.comments, "away", True)
        answer = await harness.http.post("/moderate", data=sent, headers=headers)
        assert answer.status_code == {"signed out": 401, "too often": 429}.get(why, 503)
        assert ('role="alert"' in answer.text, "2 comments are chosen." in answer.text) == (True, True)
        assert ('href="/sign-in" target="_blank"' in answer.text) == (why == "signed out")
    assert fields_of(answer.text, "step") == sent
    before = len(decided(harness))
    done = await harness.http.post("/moderate", data=fields_of(answer.text, "step"), headers=harness.anna)
    assert (done.status_code, decided(harness)[before:]) == (303, [f"/comments/{one}/restore" for one in IDS[::2]])


@pytest.mark.parametrize(
    "button",
    [{"step": f"approve {IDS[1]} held"}, {"undo": f"approve held {IDS[1]} {IDS[2]}"}, {"step": "burn"}, {}],
)
async def test_the_button_that_was_pressed_comes_back_with_what_it_is_about(
    harness: GatewayHarness, button: dict[str, str]
) -> None:
    sent = {"for": ANNA, "back": f"/posts/{SLUG}"} | button
    answer = await harness.http.post("/moderate", data=sent)
    assert answer.status_code == 401
    if next(iter(button.values()), "").startswith("approve"):
        assert fields_of(answer.text, next(iter(button))) == sent
    else:  # no button of ours: those of the list are offered
        assert [f'value="{step}"' in answer.text for step in ("approve", "reject")] == [True, True]


@pytest.mark.parametrize(
    "text",
    ["", "approve", "approve held", "approve held x", "burn held " + IDS[0], "approve gone " + IDS[0],
     "approve held " + " ".join(IDS * 6)],
)  # fmt: skip
async def test_what_is_no_decision_is_neither_said_nor_taken_back(harness: GatewayHarness, text: str) -> None:
    assert decision_of(text) is None
    page = (await harness.get(f"/moderate?{urlencode({'decided': text})}", **harness.anna)).text
    assert 'id="decided"' not in page


@pytest.mark.parametrize(
    "form",
    [{"step": "approve"}, {"step": "burn", f"comment-{IDS[0]}": "1"}, {}, {"step": "approve x"}, {"undo": "approve x"},
     {"step": "put-back", f"comment-{IDS[0]}": "1"}],
)  # fmt: skip
async def test_a_form_without_a_choice_says_what_is_missing(harness: GatewayHarness, form: dict[str, str]) -> None:
    answer = await harness.http.post("/moderate", data={"for": ANNA} | form, headers=harness.anna)
    assert (answer.status_code, 'role="alert"' in answer.text) == (422, True)
    assert decided(harness) == []


async def test_a_form_of_somebody_else_decides_nothing(harness: GatewayHarness) -> None:
    for form in ({"step": f"approve {IDS[0]}"}, {"undo": f"approve held {IDS[0]}"}):
        answer = await harness.http.post("/moderate", data={"for": str(uuid4())} | form, headers=harness.anna)
        assert answer.status_code == 409
    assert decided(harness) == []


async def test_an_empty_queue_is_no_dead_end(harness: GatewayHarness) -> None:
    harness.services.comments.on("GET", "/comments", {"items": [], "next": None})
    page = (await harness.get("/moderate", **harness.anna)).text
    assert "Nothing waits." in page
    assert '<a class="button" href="/">' in page
