"""The checks of every app, their order, and the responses."""

import json
from collections.abc import Callable, Iterator
from typing import Annotated, Any
from uuid import UUID, uuid4

import pytest
from fastapi import APIRouter, Depends, FastAPI, Form, Request
from prometheus_client import REGISTRY
from pydantic import StrictInt
from starlette.responses import Response
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from services.chassis.errors import FieldError, Problem, invalid, unavailable
from services.chassis.http import request_middleware
from services.chassis.http.app import create_app
from services.chassis.http.cursors import Limit
from services.chassis.http.guards import Guard
from services.chassis.http.problems import problems
from services.chassis.http.requests import check_if_match, idempotency_key, read_body
from services.chassis.http.routes import StrictRoute, allow, body_limit, json_response
from services.chassis.identity import Caller, Signer, Verifier
from services.contracts.text import Body, CommentText, Title
from services.operator.keys import generate_keys

KEYS = generate_keys()
GATEWAY, NOTIFY = (Signer(KEYS[f"{name.upper()}_SIGNING_KEY"], name) for name in ("gateway", "notify"))
PERSON = uuid4()
JSON = {"Content-Type": "application/json"}
READY = {"database": True}


class Thing(Body):
    body: CommentText
    title: Title | None = None
    size: StrictInt | None = None
    inner: "Thing | None" = None
    many: "tuple[Thing, ...]" = ()


Gateway = Annotated[Caller, allow("gateway")]
things = APIRouter(route_class=StrictRoute, prefix="/things")


@things.post("", status_code=201, responses=problems("idempotency-key-reused"))
async def create(request: Request, body: Thing, caller: Gateway) -> Response:
    key = idempotency_key(request, caller)
    return json_response({"body": body.body, "person": caller.person_id, "key": key and key.body_sha256.hex()}, 201)


@things.post("/large")
@body_limit(1000)
async def create_large(body: Thing, caller: Gateway) -> Response:
    return json_response(len(body.body))


@things.post("/optional")
async def create_perhaps(caller: Gateway, body: Thing | None = None) -> Response:
    return json_response(body and body.body)


@things.post("/{thing_id}/touch")
async def touch(thing_id: UUID, request: Request, caller: Gateway) -> Response:
    key = idempotency_key(request, caller)
    check_if_match(request.headers.get("if-match"), 7)
    return json_response({"id": thing_id, "key": key and key.key})


@things.get("/{thing_id}")
async def get(
    thing_id: UUID,
    caller: Annotated[Caller, allow("gateway", "notify")],
    cursor: str | None = None,
    limit: Limit = 50,
) -> Response:
    return json_response({"id": thing_id, "limit": limit, "issuer": caller.issuer})


@things.delete("/{thing_id}")
async def delete(thing_id: UUID, caller: Gateway) -> Response:
    raise {"a": KeyError("secret detail"), "b": TimeoutError()}["a" if caller.person_id else "b"]


@things.get("/unguarded/forgotten")
async def forgotten() -> Response:
    return json_response("never seen")


async def ready() -> dict[str, bool]:
    return READY


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    app = create_app("things", verifier=Verifier(KEYS["VERIFICATION_KEYS"], "things"), ready=ready, body_limit=500)
    app.include_router(things)
    with TestClient(app) as client:
        yield client


def bearer(signer: Signer = GATEWAY, audience: str = "things") -> dict[str, str]:
    return {"Authorization": "Bearer " + signer.token(audience, PERSON, ["reader"])}


def post(client: TestClient, content: Any, path: str = "/things", **headers: str) -> Any:
    return client.post(path, content=content, headers=bearer() | JSON | headers)


def problem(response: Any, status: int, kind: str) -> dict[str, Any]:
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    body: dict[str, Any] = response.json()
    assert body["type"] == f"/problems/{kind}"
    assert body["status"] == status
    assert body["instance"] == response.headers["x-request-id"]
    assert response.headers["cache-control"] == "no-store"
    assert body["title"]
    assert body["detail"]
    assert ("errors" in body) == (kind == "invalid")
    return body


def fields(response: Any) -> list[str]:
    return [error["field"] for error in problem(response, 422, "invalid")["errors"]]


def messages(response: Any) -> list[str]:
    return [error["message"] for error in problem(response, 422, "invalid")["errors"]]


def test_valid_request_succeeds(client: TestClient) -> None:
    response = post(client, b'{"body": "Hi"}')
    assert (response.status_code, response.json()) == (201, {"body": "Hi", "person": str(PERSON), "key": None})
    assert response.headers["content-type"] == "application/json"


def test_checks_run_in_order(client: TestClient) -> None:
    """Each request fails all later checks too."""
    huge_text, huge_nonsense = b'{"' + b"x" * 900, iter([b'{"' + b"x" * 300, b"x" * 300])
    text = {"Content-Type": "text/plain"}
    assert client.post("/things", content=huge_text, headers=text).status_code == 401
    assert client.post("/things", content=huge_text, headers=bearer(NOTIFY) | text).status_code == 403
    problem(client.post("/things", content=huge_text, headers=bearer() | text), 415, "unsupported-media-type")
    problem(post(client, huge_nonsense), 413, "too-large")
    problem(post(client, b'{"bod": '), 400, "malformed-json")
    assert fields(post(client, b'{"bod": 1}')) == ["body", "bod"]


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        (dict, 401, "invalid-token"),
        (lambda: {"Authorization": "Basic eDp5"}, 401, "invalid-token"),
        (lambda: {"Authorization": "Bearer"}, 401, "invalid-token"),
        (lambda: {"Authorization": "Bearer x.y.z"}, 401, "invalid-token"),
        (lambda: bearer(audience="comments"), 401, "invalid-token"),
        (lambda: bearer(NOTIFY), 403, "forbidden"),
    ],
)
def test_route_admits_only_named_services(
    client: TestClient, headers: Callable[[], dict[str, str]], status: int, kind: str
) -> None:
    """The headers are made here: a token made at collection has expired by the time a long run gets here."""
    response = client.post("/things", content=b"{}", headers=JSON | headers())
    problem(response, status, kind)
    assert response.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)


def test_route_admits_a_second_named_service(client: TestClient) -> None:
    thing_id = uuid4()
    assert client.get(f"/things/{thing_id}", headers=bearer(NOTIFY)).json()["issuer"] == "notify"


def test_route_without_a_guard_fails(client: TestClient) -> None:
    with capture_logs():
        problem(client.get("/things/unguarded/forgotten", headers=bearer()), 500, "internal")


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/json",
        "application/xml",
        "application/jsonx",
        "multipart/form-data",
        "application/json; charset=utf-16",
    ],
)
def test_other_media_types_are_refused(client: TestClient, content_type: str) -> None:
    problem(post(client, b'{"body": "x"}', **{"Content-Type": content_type}), 415, "unsupported-media-type")


def test_body_without_media_type_or_with_coding_is_refused(client: TestClient) -> None:
    problem(client.post("/things", content=b'{"body": "x"}', headers=bearer()), 415, "unsupported-media-type")
    problem(post(client, b'{"body": "x"}', **{"Content-Encoding": "gzip"}), 415, "unsupported-media-type")


@pytest.mark.parametrize(
    "content_type",
    ["Application/JSON", "application/json;charset=UTF-8", 'application/json; charset="utf-8"', "application/ld+json"],
)
def test_json_media_types_are_accepted(client: TestClient, content_type: str) -> None:
    assert post(client, b'{"body": "x"}', **{"Content-Type": content_type}).status_code == 201


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"body": NaN}',
        b'{"body": Infinity}',
        b'{"body": -Infinity}',
        b'{"body": 1e999}',
        b'{"body": "\\ud800", "size": -1e999}',
        b'{"body": "\xff"}',
        b'{"body": "\xed\xa0\x80"}',
        b'\xef\xbb\xbf{"body": "x"}',
        '{"body": "x"}'.encode("utf-16"),
        b'{"body": "x"} trailing',
        b'{"body": "a\x00b"}',
        b"{'body': 'x'}",
        b'{"body": "x",}',
        b'{"body": 01}',
        b"[" * 33 + b"]" * 33,
        b"[" * 400,
        b'{"body":' * 40 + b"1" + b"}" * 40,
    ],
)
def test_invalid_json_is_malformed(client: TestClient, content: bytes) -> None:
    problem(post(client, content), 400, "malformed-json")


def test_depth_counts_brackets_outside_strings(client: TestClient) -> None:
    assert post(client, json.dumps({"body": "[" * 100 + '"{\\' * 9})).status_code == 201
    assert fields(post(client, b'{"body":' + b"[" * 31 + b"]" * 31 + b"}")) == ["body"]
    problem(post(client, b'{"body":' + b"[" * 32 + b"]" * 32 + b"}"), 400, "malformed-json")


def test_unterminated_string_takes_linear_time(client: TestClient) -> None:
    """Quadratic matching would take minutes."""
    content = b"[" * 33 + b'"' + b'\\"' * 400_000
    app = create_app("open", verifier=None, ready=ready, body_limit=1_000_000)

    @app.post("/open")
    async def take(body: Thing) -> None: ...

    with TestClient(app) as open_client:
        problem(open_client.post("/open", content=content, headers=JSON), 400, "malformed-json")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"{}", ["body"]),
        (b"null", [""]),
        (b"[]", [""]),
        (b'"x"', [""]),
        (b'{"body": null}', ["body"]),
        (b'{"body": 5}', ["body"]),
        (b'{"body": ""}', ["body"]),
        (b'{"body": "  \\n "}', ["body"]),
        (b'{"body": "x", "colour": 1}', ["colour"]),
        (b'{"body": "x", "inner": {"body": "y", "colour": 1}}', ["inner.colour"]),
        (b'{"body": "x", "many": [{"body": "y"}, {"body": 1}]}', ["many.1.body"]),
        (b'{"body": "a\\u0000b"}', ["body"]),
        (b'{"body": "\\ud800"}', ["body"]),
        (b'{"body": "\\udc00\\ud800"}', ["body"]),
        (b'{"body": "x", "inner": {"body": "\\ud800"}, "many": [{"body": "\\u0000"}]}', ["inner.body", "many.0.body"]),
        (b'{"body": "x", "\\ud800": 1}', [""]),
        (b'{"body": "x", "inner": {"\\u0000": 1}}', ["inner"]),
        (b'{"body": "x", "size": 1.5}', ["size"]),
        (b'{"body": ' + b"1" * 300 + b"}", ["body"]),
        (b'{"body": ' + b"1" * 480 + b"}", ["body"]),
    ],
)
def test_invalid_field_is_named(client: TestClient, content: bytes, named: list[str]) -> None:
    assert sorted(fields(post(client, content))) == sorted(named)


@pytest.mark.parametrize("content", [b"null", b"[]", b"1", b'"x"', b"true"])
def test_a_body_that_is_no_object_is_refused_in_plain_words(client: TestClient, content: bytes) -> None:
    answer = post(client, content)
    assert messages(answer) == ["must be a JSON object"]
    assert answer.json()["detail"] == "The body must be a JSON object."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", "is required"),
        (b'{"body": 5}', "must be a string"),
        (b'{"body": ""}', "must not be empty"),
        (b'{"body": "x", "colour": 1}', "is not a field of this call"),
        (b'{"body": "x", "size": 1.5}', "must be a whole number"),
        (b'{"body": "x", "size": "1"}', "must be a whole number"),
        (b'{"body": "x", "inner": 1}', "must be a JSON object"),
        (b'{"body": "x", "many": 1}', "must be a list"),
    ],
)
def test_errors_are_told_in_plain_words(client: TestClient, content: bytes, message: str) -> None:
    assert messages(post(client, content)) == [message]


def test_errors_of_a_query_are_told_in_plain_words(client: TestClient) -> None:
    for limit, message in (
        ("0", "at least 1"),
        ("201", "at most 200"),
        ("x", "a whole number"),
        ("", "a whole number"),
        *((spelled, "a whole number") for spelled in ("5.0", "+5", "-5", "05", "00", " 5", "5 ", "1_0", "٥", "5e0")),
    ):
        answer = client.get(f"/things/{uuid4()}", params={"limit": limit}, headers=bearer())
        assert messages(answer) == [f"must be {message}"]
        assert answer.json()["detail"] == f"limit must be {message}."


def test_a_whole_number_of_a_query_is_taken(client: TestClient) -> None:
    for limit in ("1", "10", "200"):
        answer = client.get(f"/things/{uuid4()}", params={"limit": limit}, headers=bearer())
        assert answer.json()["limit"] == int(limit)
    assert messages(client.get(f"/things/{uuid4()}", params={"limit": "9" * 5_000}, headers=bearer()))


@pytest.mark.parametrize(
    ("field", "message", "detail"),
    [
        ("body", "shows nothing", "body shows nothing."),
        ("", "holds a number that is too large", "The body holds a number that is too large."),
        ("a.0.b", "must not contain NUL", "a.0.b must not contain NUL."),
        ("parent_id", "is unknown. Leave it out.", "parent_id is unknown. Leave it out."),
    ],
)
def test_the_detail_of_one_field_is_a_sentence_about_it(field: str, message: str, detail: str) -> None:
    problem = invalid(field, message)
    assert (problem.detail, problem.errors) == (detail, (FieldError(field, message),))


def test_refused_strings_and_numbers_are_told_in_sentences(client: TestClient) -> None:
    for content, detail in (
        (b'{"body": "\\u0000"}', "body must not contain NUL."),
        (b'{"body": "x", "inner": {"body": "\\ud800"}}', "inner.body must not contain a lone surrogate."),
        (b'{"a\\u0000": 1}', "The body has a member whose name holds NUL or a lone surrogate."),
        (b"{" + b",".join(b'"%x":1' % number for number in range(101)) + b"}",
         "The body must have at most 100 members."),
    ):  # fmt: skip
        assert post(client, content, "/things/large").json()["detail"] == detail
    huge = post(client, b'{"body": "x", "size": 99999999999999999999999}', **{"Idempotency-Key": "k"})
    assert huge.json()["detail"] in (
        "The body holds a number that is too large.",
        "size must be a whole number.",
    )


def test_huge_numbers_are_no_error(client: TestClient) -> None:
    response = post(client, b'{"body": "x", "size": ' + b"9" * 400 + b"}", "/things/large", **{"Idempotency-Key": "k"})
    assert response.status_code == 200
    big = post(
        client, b'{"body": "x", "size": 99999999999999999999999, "title": "\\u00e9"}', **{"Idempotency-Key": "k"}
    )
    assert big.status_code in (201, 422)


def test_last_of_duplicate_members_counts(client: TestClient) -> None:
    assert post(client, b'{"body": "first", "body": "last"}').json()["body"] == "last"


def test_body_limit_of_app_and_route(client: TestClient) -> None:
    exact = b'{"body": "%s"}' % (b"x" * (500 - 12))
    assert len(exact) == 500
    assert post(client, exact).status_code == 201
    assert post(client, iter([exact])).status_code == 201
    refused = post(client, exact + b" ")
    problem(refused, 413, "too-large")
    problem(post(client, iter([exact, b" "])), 413, "too-large")
    assert post(client, exact + b" ", "/things/large").status_code == 200
    problem(post(client, exact * 2 + b" ", "/things/large"), 413, "too-large")


def test_unread_body_is_bounded(client: TestClient) -> None:
    path = f"/things/{uuid4()}/touch"
    assert client.post(path, headers=bearer(), content=b"whatever").status_code == 200
    problem(client.post(path, headers=bearer(), content=b"x" * 501), 413, "too-large")
    problem(client.post(path, headers=bearer() | {"Content-Length": "9" * 30}), 413, "too-large")


def test_optional_body_may_be_missing(client: TestClient) -> None:
    assert client.post("/things/optional", headers=bearer()).json() is None
    assert post(client, b'{"body": "x"}', "/things/optional").json() == "x"
    problem(post(client, b"{", "/things/optional"), 400, "malformed-json")


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "1.5", "", "9" * 5000])
def test_invalid_query_parameter_is_named(client: TestClient, limit: str) -> None:
    assert fields(client.get(f"/things/{uuid4()}", params={"limit": limit}, headers=bearer())) == ["limit"]


def test_quoted_input_is_bounded(client: TestClient) -> None:
    body = problem(post(client, b'{"%s": 1}' % (b"x" * 450)), 422, "invalid")
    assert max(len(error["field"]) for error in body["errors"]) == 300
    many = b"{" + b",".join(b'"%d":1' % at for at in range(70)) + b"}"
    assert len(problem(post(client, many), 422, "invalid")["errors"]) == 50


def test_unknown_query_parameters_are_ignored(client: TestClient) -> None:
    assert client.get(f"/things/{uuid4()}?x=%00&limit=3&y=%ff", headers=bearer()).json()["limit"] == 3


@pytest.mark.parametrize(
    "path", ["/things/5", "/things/%00", f"/things/{UUID(int=7)}%00", "/nothing", "/", "/things/", "/%ff"]
)
def test_invalid_path_is_not_found(client: TestClient, path: str) -> None:
    problem(client.get(path, headers=bearer()), 404, "not-found")


def test_invalid_id_is_not_found_even_with_an_invalid_query(client: TestClient) -> None:
    problem(client.get("/things/5?limit=0", headers=bearer()), 404, "not-found")


def test_wrong_method_lists_the_allowed_ones(client: TestClient) -> None:
    response = client.put(f"/things/{uuid4()}", headers=bearer())
    problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "DELETE, GET, HEAD"
    assert client.put("/livez").headers["allow"] == "GET, HEAD"


def test_head_is_get_without_body(client: TestClient) -> None:
    path = f"/things/{uuid4()}"
    head, whole = client.head(path, headers=bearer()), client.get(path, headers=bearer())
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == whole.headers["content-length"]
    assert client.head("/nothing").status_code == 404


def test_unexpected_exception_is_logged_and_not_shown(client: TestClient) -> None:
    with capture_logs() as logs:
        response = client.delete(f"/things/{uuid4()}", headers=bearer())
    problem(response, 500, "internal")
    assert "secret" not in response.text
    assert [(log["event"], repr(log["exc_info"])) for log in logs] == [("request failed", "KeyError('secret detail')")]


def test_timeout_is_unavailable(client: TestClient) -> None:
    headers = {"Authorization": "Bearer " + GATEWAY.token("things")}
    with capture_logs():
        response = client.delete(f"/things/{uuid4()}", headers=headers)
    problem(response, 503, "unavailable")
    assert response.headers["retry-after"] == "1"


@things.get("/{thing_id}/away")
async def away(thing_id: UUID, caller: Gateway) -> Response:
    raise unavailable("The database does not answer.", 4) from ConnectionRefusedError("nobody there")


def test_cause_of_unavailable_is_logged_and_not_shown(client: TestClient) -> None:
    with capture_logs() as logs:
        response = client.get(f"/things/{uuid4()}/away", headers=bearer())
    problem(response, 503, "unavailable")
    assert response.headers["retry-after"] == "4"
    assert "nobody there" not in response.text
    assert [log["cause"] for log in logs] == ["ConnectionRefusedError('nobody there')"]


@pytest.mark.parametrize("good", ["a", "A-z_0.9", "x" * 64])
def test_valid_request_id_is_kept(client: TestClient, good: str) -> None:
    assert client.get("/livez", headers={"X-Request-ID": good}).headers["x-request-id"] == good
    assert client.get("/nothing", headers={"X-Request-ID": good}).json()["instance"] == good


@pytest.mark.parametrize("bad", ["", "x" * 65, "a b", "a/b", "é", "a\tb", "a,b"])
def test_invalid_request_id_is_replaced(client: TestClient, bad: str) -> None:
    given = client.get("/livez", headers={b"X-Request-ID": bad.encode()}).headers["x-request-id"]
    assert given != bad
    assert 1 <= len(given) <= 64


def test_health_needs_no_token(client: TestClient) -> None:
    assert client.get("/livez").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok", "parts": {"database": True}}
    READY["database"] = False
    try:
        response = client.get("/readyz")
    finally:
        READY["database"] = True
    assert (response.status_code, response.json()["parts"]) == (503, {"database": False})


def test_metrics_have_the_route_not_the_path(client: TestClient) -> None:
    def count(route: str, status: str) -> float:
        labels = {"method": "GET", "route": route, "status": status}
        return REGISTRY.get_sample_value("rapport_http_requests_total", labels) or 0

    before, unmatched = count("/things/{thing_id}", "200"), count("unmatched", "404")
    client.get(f"/things/{uuid4()}", headers=bearer())
    client.get("/some/other/path")
    assert count("/things/{thing_id}", "200") == before + 1
    assert count("unmatched", "404") == unmatched + 1


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "a\x7fb", "a\tb"])
def test_malformed_idempotency_key_is_refused(client: TestClient, key: str) -> None:
    headers = {b"Authorization": bearer()["Authorization"].encode(), b"Idempotency-Key": key.encode()}
    problem(client.post(f"/things/{uuid4()}/touch", headers=headers), 400, "malformed-idempotency-key")


def test_two_idempotency_keys_are_refused(client: TestClient) -> None:
    headers = [*bearer().items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    problem(client.post(f"/things/{uuid4()}/touch", headers=headers), 400, "malformed-idempotency-key")


@pytest.mark.parametrize("key", ["x", "a b", "~" * 255, '"quoted"'])
def test_idempotency_key_is_unchanged(client: TestClient, key: str) -> None:
    response = client.post(f"/things/{uuid4()}/touch", headers=bearer() | {"Idempotency-Key": key})
    assert response.json()["key"] == key


def test_an_id_in_capitals_has_the_same_digest() -> None:
    def digest(**body: Any) -> bytes:
        scope = {"type": "http", "method": "POST", "path": "/things", "headers": [(b"idempotency-key", b"k")]}
        key = idempotency_key(Request(scope), Caller("gateway", PERSON), body)
        assert key is not None
        return key.body_sha256

    an_id = "01936f6e-0000-7000-8000-00000000abcd"
    assert digest(parent_id=an_id) == digest(parent_id=an_id.upper())
    assert digest(body=an_id) != digest(body=an_id.upper())
    assert digest(parent_id="x") != digest(parent_id="X")


def test_equal_json_has_equal_digests(client: TestClient) -> None:
    def digest(content: bytes) -> str:
        return str(post(client, content, **{"Idempotency-Key": "k"}).json()["key"])

    first = digest(b'{"body": "x", "title": "y"}')
    assert digest(b'{ "title":"\\u0079",\n"body":"x" }') == first
    assert digest(b'{"body": "x", "title": "z"}') != first


@pytest.mark.parametrize("header", [None, "*", '"7-abc"', '"6-x", "7-y"', ' "7-a_b-c" '])
def test_if_match_compares_the_version(header: str | None) -> None:
    check_if_match(header, 7)


@pytest.mark.parametrize(
    "header",
    ["", '"6-abc"', 'W/"7-abc"', "7-abc", '"7"', '"7-"', '"-7-a"', '"77-a"', '"7-abc', "x", '"٧-abc"', '"7-é"'],
)
def test_if_match_without_the_version_is_stale(header: str) -> None:
    with pytest.raises(Problem, match="stale"):
        check_if_match(header, 7)


def test_if_match_compares_the_epoch_too() -> None:
    check_if_match('"7-e9-0a1b"', 7, 9)
    check_if_match('"7-0a1b"', 7, 0)
    for header, epoch in (('"7-0a1b"', 9), ('"7-e8-0a1b"', 9), ('"7-e9-0a1b"', 0), ('"6-e9-0a1b"', 9)):
        with pytest.raises(Problem, match="stale"):
            check_if_match(header, 7, epoch)


def test_openapi_document_names_every_problem(client: TestClient) -> None:
    app = client.app
    assert isinstance(app, FastAPI)
    document = app.openapi()
    paths = document["paths"]
    assert set(paths["/things"]["post"]["responses"]) == {"201", "400", "401", "403", "413", "415", "422", "503"}
    assert set(paths["/things/{thing_id}"]["get"]["responses"]) == {"200", "400", "401", "403", "404", "422", "503"}
    assert set(paths["/things/{thing_id}/touch"]["post"]["responses"]) == {"200", "401", "403", "404", "413", "503"}
    described = paths["/things"]["post"]["responses"]["422"]
    assert "`idempotency-key-reused`" in described["description"]
    assert "`invalid`" in described["description"]
    assert described["content"] == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    assert "Thing" in document["components"]["schemas"]
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert "/livez" not in paths


ORDER: list[str] = []


class PersonGuard(Guard[str]):
    async def admit(self, request: Request) -> str:
        ORDER.append("guard")
        if "x-person" not in request.headers:
            raise Problem("sign-in-required")
        return request.headers["x-person"]


def test_app_with_its_own_guard() -> None:
    app = create_app("own", verifier=None, ready=ready)
    guard = PersonGuard()

    @app.post("/echo")
    async def echo(body: Thing, person: Annotated[str, Depends(guard)]) -> Response:
        return json_response({"person": person, "body": body.body})

    @app.post("/form")
    async def form(person: Annotated[str, Depends(guard)], field: Annotated[str, Form()]) -> Response:
        return json_response({"field": field})

    @app.post("/raw")
    async def raw(request: Request) -> Response:
        return json_response(len(await read_body(request, 10)))

    with TestClient(app) as client:
        problem(client.post("/echo", content=b"{", headers=JSON), 401, "sign-in-required")
        ORDER.clear()
        response = client.post("/echo", json={"body": "x"}, headers={"X-Person": "ann"})
        assert response.json() == {"person": "ann", "body": "x"}
        assert ORDER == ["guard"], "run once although it is a dependency too"
        assert client.post("/form", data={"field": "y"}, headers={"X-Person": "ann"}).json() == {"field": "y"}
        problem(client.post("/form", data={"field": "y" * 270_000}, headers={"X-Person": "ann"}), 413, "too-large")
        problem(client.post("/form", data={"field": "y"}), 401, "sign-in-required")
        assert client.post("/raw", content=b"0123456789").json() == 10
        problem(client.post("/raw", content=b"0123456789x"), 413, "too-large")
        assert client.get("/openapi.json").status_code == 404, "no app serves its document"


@pytest.mark.parametrize("given", ["", "x", "-1", "1e9", "nan", "inf", "99999", "1.5.5", "1 ", "\uff11"])
def test_a_deadline_that_is_none_is_ignored(given: str) -> None:
    scope = {"type": "http", "headers": [(b"x-deadline-seconds", given.encode())]}
    assert request_middleware._context(scope).deadline is None
