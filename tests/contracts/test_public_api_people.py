"""Sign-in, sessions and people in the public contract."""

import asyncio
import base64
import hashlib
import re
from typing import Any
from uuid import uuid4

import pytest

from tests.client import LINK, Client, HttpResponse, Person
from tests.contracts import shapes
from tests.contracts.conftest import NewPerson
from tests.contracts.shapes import check_invalid, check_problem, check_read, check_times, is_id
from tests.smtp_sink import SmtpSink
from tests.stack import Stack
from tests.waiting import eventually

FRONT_END = "https://front.example/signed-in"  # in the settings of the stack


def check_your_mail(answer: HttpResponse) -> str:
    """Return the name of the request that this answer is about."""
    assert answer.status == 202
    assert set(answer.json) == {"status", "request"}
    assert answer.json["status"] == "check_your_mail"
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", answer.json["request"])
    return str(answer.json["request"])


async def link(client: Client, sink: SmtpSink, path: str, body: dict[str, str]) -> str:
    """Return the token of the link in the mail that this request causes."""
    before = len(sink.to(body["email"]))
    answer = await client.call("POST", path, body)
    check_your_mail(answer)
    await eventually(lambda: len(sink.to(body["email"])) > before, timeout=20)
    found = LINK.findall(sink.to(body["email"])[-1].text)
    assert len(set(found)) == 1
    return str(found[0])


def address() -> str:
    return f"p.{uuid4().hex[:12]}@contract.example.com"


async def test_register_confirm_and_sign_in(client: Client, session_sink: SmtpSink) -> None:
    email = address()
    token = await link(client, session_sink, "/v1/people", {"name": "Zoë", "email": email})
    for _ in range(3):
        page = await client.call("GET", f"/sign-in/{token}")
        assert page.status == 200
        assert page.headers["Cache-Control"] == "no-store"
    answer = await client.call("POST", "/v1/sessions", {"token": token})
    assert answer.status == 201
    assert answer.headers["Cache-Control"] == "no-store"
    session = answer.json
    assert set(session) == shapes.SESSION
    assert session["token_type"] == "Bearer"
    assert 0 < session["expires_in"] <= 900
    me = session["person"]
    assert set(me) == shapes.ME
    assert is_id(me["id"])
    check_times(me)
    assert (me["name"], me["email"], me["email_confirmed"], me["roles"]) == ("Zoë", email, True, ["reader"])
    who = Person(me["id"], me["name"], email, session["access_token"], session["refresh_token"])
    read = await client.call("GET", "/v1/me", who=who)
    check_read(read, private=True)
    assert read.json == me
    check_problem(await client.call("POST", "/v1/sessions", {"token": token}), 410, "link-used-or-expired")
    check_problem(await client.call("POST", "/v1/sessions", {"token": "x" * 43}), 404, "not-found")
    page = await client.call("GET", f"/sign-in/{token}")
    assert page.status == 200


async def test_a_confirmed_address_keeps_its_name(client: Client, session_sink: SmtpSink) -> None:
    email = address()
    await client.call("POST", "/v1/sessions", {
        "token": await link(client, session_sink, "/v1/people", {"name": "First", "email": email})
    })  # fmt: skip
    token = await link(client, session_sink, "/v1/people", {"name": "Second", "email": email})
    session = await client.call("POST", "/v1/sessions", {"token": token})
    assert session.json["person"]["name"] == "First"


async def test_an_unknown_address_gets_the_same_answer_and_no_mail(client: Client, session_sink: SmtpSink) -> None:
    stranger, witness = address(), address()
    answer = await client.call("POST", "/v1/sign-in", {"email": stranger})
    check_your_mail(answer)
    await link(client, session_sink, "/v1/people", {"name": "Witness", "email": witness})
    assert session_sink.to(stranger) == []


async def code(client: Client, sink: SmtpSink, email: str) -> tuple[str, str]:
    """Register and return the request and the code in its mail."""
    before = len(sink.to(email))
    request = check_your_mail(await client.call("POST", "/v1/people", {"name": "Cody", "email": email}))
    await eventually(lambda: len(sink.to(email)) > before, timeout=20)
    mail = sink.to(email)[-1]
    (found,) = re.findall(r"\b[0-9]{8}\b", mail.text)
    assert found not in str(mail.message["Subject"])
    return request, found


async def test_a_code_signs_in_once(client: Client, session_sink: SmtpSink) -> None:
    request, found = await code(client, session_sink, address())
    body = {"request": request, "code": found}
    session = await client.call("POST", "/v1/sessions", body)
    assert session.status == 201
    assert session.headers["Cache-Control"] == "no-store"
    assert set(session.json) == shapes.SESSION
    check_problem(await client.call("POST", "/v1/sessions", body), 401, "invalid-code")


async def test_wrong_codes_end_a_request_then_the_codes_of_its_address(client: Client, session_sink: SmtpSink) -> None:
    email = address()
    for _ in range(2):
        request, found = await code(client, session_sink, email)
        body = {"request": request, "code": f"{(int(found) + 1) % 10**8:08}"}
        for _ in range(5):
            check_problem(await client.call("POST", "/v1/sessions", body), 401, "invalid-code")
        check_problem(await client.call("POST", "/v1/sessions", body | {"code": found}), 401, "invalid-code")
    request, found = await code(client, session_sink, email)
    check_problem(await client.call("POST", "/v1/sessions", {"request": request, "code": found}), 401, "invalid-code")
    token = LINK.findall(session_sink.to(email)[-1].text)[0]
    assert (await client.call("POST", "/v1/sessions", {"token": token})).status == 201


async def test_a_front_end_elsewhere_fetches_a_session(client: Client, session_sink: SmtpSink, stack: Stack) -> None:
    email, verifier = address(), uuid4().hex * 2
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {"name": "Elsa", "email": email, "return_to": FRONT_END, "challenge": challenge}
    token = await link(client, session_sink, "/v1/people", asked)
    assert "front.example" not in session_sink.to(email)[-1].content.decode()
    page = await client.call("GET", f"/sign-in/{token}")
    assert "https://front.example" in page.body.decode()
    assert "form-action 'self' https://front.example;" in page.headers["Content-Security-Policy"]
    pressed = await client.call("POST", f"/sign-in/{token}", headers={"Origin": stack.url})
    assert pressed.status == 303
    found = pressed.headers["Location"].removeprefix(f"{FRONT_END}#code=")
    wrong = await client.call("POST", "/v1/sessions", {"code": found, "verifier": verifier[:-1] + "!"})
    check_problem(wrong, 401, "invalid-code")
    session = await client.call("POST", "/v1/sessions", {"code": found, "verifier": verifier})
    assert session.status == 201
    assert set(session.json) == shapes.SESSION
    again = await client.call("POST", "/v1/sessions", {"code": found, "verifier": verifier})
    check_problem(again, 401, "invalid-code")
    for path in ("/v1/people", "/v1/sign-in"):
        body = asked | {"return_to": FRONT_END + "/"}
        if path == "/v1/sign-in":
            del body["name"]
        check_invalid(await client.call("POST", path, body), "return_to")


async def test_an_invalid_combination_names_its_field(client: Client) -> None:
    for body, field in (({"code": "1"}, "request"), ({"request": "x"}, "code"), ({"verifier": "x"}, "code")):
        check_invalid(await client.call("POST", "/v1/sessions", body), field)


@pytest.mark.parametrize(
    ("path", "body", "fields"),
    [
        ("/v1/people", {}, {"name", "email"}),
        ("/v1/people", {"name": "", "email": "x"}, {"name", "email"}),
        ("/v1/people", {"email": "x@", "roles": 1}, {"name", "email", "roles"}),
        ("/v1/sign-in", {"email": "x", "challenge": "short"}, {"email", "challenge"}),
        ("/v1/sign-in?from=x", {"email": "x"}, {"email", "from"}),
        ("/v1/people", {"name": " ", "email": "a@example.com"}, {"name"}),
        ("/v1/people", {"name": "x" * 101, "email": "a@example.com"}, {"name"}),
        ("/v1/people", {"name": "x", "email": "nonsense"}, {"email"}),
        ("/v1/people", {"name": "x", "email": "a@example.com\r\nBcc: b@example.com"}, {"email"}),
        ("/v1/people", {"name": "x", "email": "a" * 250 + "@example.com"}, {"email"}),
        ("/v1/people", {"name": "x", "email": "a@example.com", "roles": ["admin"]}, {"roles"}),
        ("/v1/sign-in", {"email": ""}, {"email"}),
        ("/v1/sessions", {}, {"token"}),
        ("/v1/sessions/refresh", {"refresh_token": 5}, {"refresh_token"}),
    ],
)
async def test_an_invalid_field_is_named(client: Client, path: str, body: Any, fields: set[str]) -> None:
    check_invalid(await client.call("POST", path, body), *fields)


async def test_the_detail_names_the_field(client: Client) -> None:
    refused = await client.call("POST", "/v1/sign-in", {"email": "x"})
    assert refused.json["detail"] == "email must be an e-mail address."
    refused = await client.call("POST", "/v1/sign-in", {"email": "x@example.com", "return_to": "https://x.example"})
    assert refused.json["detail"] == "return_to is not one of the addresses to which this site leads back."


async def refresh(client: Client, token: str, key: str | None = None) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return await client.call("POST", "/v1/sessions/refresh", {"refresh_token": token}, headers=headers)


async def test_refresh_rotates_and_a_used_token_ends_its_session(client: Client, new_person: NewPerson) -> None:
    who = await new_person()
    first = await refresh(client, who.refresh_token)
    assert first.status == 200
    assert first.headers["Cache-Control"] == "no-store"
    assert set(first.json) == shapes.SESSION
    assert first.json["refresh_token"] != who.refresh_token
    check_problem(await refresh(client, who.refresh_token), 401, "invalid-refresh-token")
    check_problem(await refresh(client, first.json["refresh_token"]), 401, "invalid-refresh-token")
    check_problem(await refresh(client, "unknown"), 401, "invalid-refresh-token")


async def test_a_lost_answer_is_replaced_under_its_key(client: Client, new_person: NewPerson) -> None:
    who, key = await new_person(), str(uuid4())
    lost = await refresh(client, who.refresh_token, key)
    again = await refresh(client, who.refresh_token, key)
    assert again.status == 200
    assert again.json["refresh_token"] != lost.json["refresh_token"]
    assert (await refresh(client, again.json["refresh_token"])).status == 200


async def test_a_session_ends(client: Client, new_person: NewPerson) -> None:
    who = await new_person()
    answer = await client.call("DELETE", "/v1/sessions/current", who=who)
    assert (answer.status, answer.body) == (204, b"")
    check_problem(await refresh(client, who.refresh_token), 401, "invalid-refresh-token")
    check_problem(await client.call("GET", "/v1/me", who=who), 401, "invalid-token")
    check_problem(await client.call("GET", "/v1/posts", who=who), 401, "invalid-token")


async def test_a_rename_is_visible_at_once_to_its_person(client: Client, author: Person, new_person: NewPerson) -> None:
    who = await new_person("Before")
    post = await client.publish(author)
    made = await client.comment(who, post["id"])
    assert made["author"]["name"] == "Before"
    answer = await client.call("PATCH", "/v1/me", {"name": " After\u202e "}, who=who)
    assert (answer.status, answer.json["name"]) == (200, "After")
    assert (await client.call("GET", "/v1/me", who=who)).json["name"] == "After"
    assert (await client.call("GET", f"/v1/comments/{made['id']}", who=who)).json["author"]["name"] == "After"
    check_invalid(await client.call("PATCH", "/v1/me", {"name": ""}, who=who), "name")
    check_invalid(await client.call("PATCH", "/v1/me", {"email": "x@example.com"}, who=who), "email")
    check_invalid(await client.call("PATCH", "/v1/me", {"name": None}, who=who), "name")


async def test_a_profile_has_no_address(client: Client, author: Person, new_person: NewPerson) -> None:
    who = await new_person("Pat")
    post = await client.publish(author)
    for _ in range(2):
        await client.comment(who, post["id"])
    for viewer in (None, who):
        answer = await client.call("GET", f"/v1/people/{who.id}", who=viewer)
        check_read(answer, private=viewer is not None)
        assert set(answer.json) == shapes.PROFILE
        assert answer.json["name"] == "Pat"
        assert answer.json["comment_count"] == 2
        assert "@" not in answer.body.decode()


async def test_erasure_ends_sessions_and_tokens(client: Client, new_person: NewPerson) -> None:
    who = await new_person()
    answer = await client.call("DELETE", "/v1/me", who=who)
    assert answer.status == 202

    async def refused() -> bool:
        return (await client.call("GET", "/v1/me", who=who)).status == 401

    await eventually(refused, timeout=20)
    check_problem(await refresh(client, who.refresh_token), 401, "invalid-refresh-token")


async def test_concurrent_uses_of_a_link_sign_in_once(client: Client, session_sink: SmtpSink) -> None:
    token = await link(client, session_sink, "/v1/people", {"name": "Racer", "email": address()})
    answers = await asyncio.gather(*(client.call("POST", "/v1/sessions", {"token": token}) for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [201] + [410] * 7


async def test_people_say_something_of_themselves(client: Client, new_person: NewPerson) -> None:
    who = await new_person("Rosa")

    async def about() -> list[Any]:
        profile = await client.call("GET", f"/v1/people/{who.id}")
        assert set(profile.json) == shapes.PROFILE
        return [profile.json["about"], (await client.call("GET", "/v1/me", who=who)).json["about"]]

    assert await about() == [None, None]
    key = {"Idempotency-Key": str(uuid4())}
    told = {"about": " Beans, *mostly*.\nAnd frost. "}
    for replayed in (None, "true"):
        answer = await client.call("PATCH", "/v1/me", told, who=who, headers=key)
        assert (answer.status, answer.headers.get("Idempotency-Replayed")) == (200, replayed)
        assert (answer.json["about"], answer.json["name"]) == ("Beans, *mostly*.\nAnd frost.", "Rosa")
    assert await about() == ["Beans, *mostly*.\nAnd frost."] * 2
    renamed = await client.call("PATCH", "/v1/me", {"name": "Rosa M."}, who=who)
    assert renamed.json["about"] == "Beans, *mostly*.\nAnd frost.", "what is left out stays"
    for wrong in ("", " \n", "\u200b", "x" * 501, 5):
        check_invalid(await client.call("PATCH", "/v1/me", {"about": wrong}, who=who), "about")
    both = await client.call("PATCH", "/v1/me", {"name": "Rosa", "about": "x" * 500}, who=who)
    assert (both.json["name"], both.json["about"]) == ("Rosa", "x" * 500)
    assert (await client.call("PATCH", "/v1/me", {"about": None}, who=who)).json["about"] is None
    assert await about() == [None, None]
    await client.call("PATCH", "/v1/me", {"about": "Soon gone"}, who=who)
    assert (await client.call("DELETE", "/v1/me", who=who)).status == 202

    async def gone() -> bool:
        return bool((await client.call("GET", f"/v1/people/{who.id}")).json["about"] is None)

    await eventually(gone)


async def test_sessions_are_listed_and_ended(client: Client, session_sink: SmtpSink) -> None:
    email = address()

    async def sign_in(agent: str) -> Person:
        token = await link(client, session_sink, "/v1/people", {"name": "Ses", "email": email})
        begun = await client.call("POST", "/v1/sessions", {"token": token}, headers={"User-Agent": agent})
        me = begun.json["person"]
        return Person(me["id"], me["name"], email, begun.json["access_token"], begun.json["refresh_token"])

    here, there, elsewhere = [await sign_in(agent) for agent in ("Here/1.0", "There " + "x" * 400, "Elsewhere")]
    listed = await client.call("GET", "/v1/me/sessions", who=here)
    check_read(listed, private=True)
    assert all(set(item) == shapes.OPEN_SESSION for item in listed.json["items"])
    assert [item["current"] for item in listed.json["items"]] == [False, False, True]
    assert [item["user_agent"] for item in listed.json["items"]] == [
        "Elsewhere",
        ("There " + "x" * 400)[:300],
        "Here/1.0",
    ]
    for item in listed.json["items"]:
        check_times(item)
        assert item["last_used_at"].endswith(":00:00.000Z"), "of the last use only the hour is kept"
    first = await client.call("GET", "/v1/me/sessions?limit=2", who=here)
    rest = await client.call("GET", f"/v1/me/sessions?cursor={first.json['next']}", who=here)
    assert first.json["items"] + rest.json["items"] == listed.json["items"]

    theirs = listed.json["items"][0]["id"]
    stranger = await client.sign_in("Stranger", address())
    check_problem(await client.call("DELETE", f"/v1/me/sessions/{theirs}", who=stranger), 404, "not-found")
    check_problem(await client.call("DELETE", "/v1/me/sessions/x", who=here), 404, "not-found")
    for _ in range(2):
        assert (await client.call("DELETE", f"/v1/me/sessions/{theirs}", who=here)).status == 204
    check_problem(await client.call("GET", "/v1/me", who=elsewhere), 401, "invalid-token")
    refused = await client.call("POST", "/v1/sessions/refresh", {"refresh_token": elsewhere.refresh_token})
    check_problem(refused, 401, "invalid-refresh-token")
    assert (await client.call("DELETE", "/v1/me/sessions", who=here)).status == 204
    check_problem(await client.call("GET", "/v1/me", who=there), 401, "invalid-token")
    (left,) = (await client.call("GET", "/v1/me/sessions", who=here)).json["items"]
    assert left["current"]
    check_problem(await client.call("GET", "/v1/me/sessions"), 401, "sign-in-required")


async def test_everything_of_mine_in_one_document(
    client: Client, author: Person, moderator: Person, new_person: NewPerson
) -> None:
    who = await new_person("Exporter", "author")
    await client.call("PATCH", "/v1/me", {"about": "All of it"}, who=who)
    post = await client.publish(who, title="Mine", body="First")
    await client.call("PATCH", f"/v1/posts/{post['id']}", {"body": "Second"}, who=who)
    draft = (await client.call("POST", "/v1/posts", {"title": "Draft", "body": "Not yet"}, who=who)).json
    theirs = await client.publish(author, discussion="held")
    held, rejected, blanked = [
        await client.comment(who, theirs["id"], text) for text in ("Held", "Rejected", "Blanked")
    ]
    shown = await client.comment(who, post["id"], "Shown")
    await client.comment(author, post["id"], "Not mine", parent_id=shown["id"])
    await client.call("POST", f"/v1/comments/{rejected['id']}/reject", who=moderator)
    await client.call("DELETE", f"/v1/comments/{blanked['id']}", who=who)
    await client.call("PUT", f"/v1/posts/{theirs['id']}/follow", who=who)

    async def is_told() -> bool:
        return bool((await client.call("GET", "/v1/me/notifications", who=who)).json["items"])

    await eventually(is_told)
    answer = await client.call("GET", "/v1/me/export", who=who)
    assert answer.status == 200, answer.body
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Type"] == "application/json"
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    told = answer.json
    assert set(told) == shapes.EXPORT
    assert (told["me"]["email"], told["me"]["about"]) == (who.email, "All of it")
    assert [one["current"] for one in told["sessions"]] == [True, False]
    assert {one["id"]: (one["status"], one["body"]) for one in told["posts"]} == {
        post["id"]: ("published", "Second"),
        draft["id"]: ("draft", "Not yet"),
    }
    texts = [(one["post_id"], one["revision"], one["body"]) for one in told["revisions"]]
    assert sorted(texts) == sorted([(post["id"], 1, "First"), (post["id"], 2, "Second"), (draft["id"], 1, "Not yet")])
    assert {one["id"]: (one["state"], one["body"]) for one in told["comments"]} == {
        held["id"]: ("held", "Held"),
        rejected["id"]: ("removed", "Rejected"),
        blanked["id"]: ("removed", None),
        shown["id"]: ("visible", "Shown"),
    }
    assert told["mail"] == shapes.MAIL
    assert [one["post_id"] for one in told["follows"]] == [theirs["id"]]
    assert [one["comment_id"] for one in told["notifications"]]
    assert "Not mine" not in answer.body.decode()
    check_problem(await client.call("GET", "/v1/me/export"), 401, "sign-in-required")


async def test_my_comments_are_listed_newest_first(
    client: Client, author: Person, moderator: Person, new_person: NewPerson
) -> None:
    who, path = await new_person("Mine"), "/v1/me/comments"
    first, second = await client.publish(author), await client.publish(author, discussion="held")
    shown = await client.comment(who, first["id"], "Shown")
    await client.comment(author, first["id"], "An answer", parent_id=shown["id"])
    held = await client.comment(who, second["id"], "Held")
    rejected = await client.comment(who, first["id"], "Rejected")
    await client.call("POST", f"/v1/comments/{rejected['id']}/reject", who=moderator)
    answer = await client.call("GET", path, who=who)
    check_read(answer, private=True)
    assert [(one["id"], one["state"]) for one in answer.json["items"]] == [
        (held["id"], "held"),
        (shown["id"], "visible"),
    ]
    assert all(set(one) == shapes.MY_COMMENT for one in answer.json["items"])
    replies = answer.json["items"][1]["replies"]
    assert replies["items"] == []
    below = await client.call("GET", f"/v1/comments/{shown['id']}/replies?cursor={replies['next']}", who=who)
    assert [one["author"]["is_post_author"] for one in below.json["items"]] == [True]
    page = await client.call("GET", f"{path}?limit=1", who=who)
    rest = await client.call("GET", f"{path}?limit=1&cursor={page.json['next']}", who=who)
    assert page.json["items"] + rest.json["items"] == answer.json["items"]
    assert rest.json["next"] is None
    other = await client.call("GET", f"{path}?cursor={page.json['next']}", who=author)
    check_problem(other, 400, "malformed-cursor")
    check_problem(await client.call("GET", path), 401, "sign-in-required")
