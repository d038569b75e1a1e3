"""Random requests generated from `/openapi.json`: never a 500, and every answer matches its description."""

import asyncio
import random
from collections import Counter
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode

from tests.client import Client, Person

load_all_checks()
CONFORMS = [
    CHECKS.get_one(name)
    for name in ("status_code_conformance", "content_type_conformance", "response_schema_conformance")
]
LAST = {("DELETE", "/v1/me"), ("DELETE", "/v1/sessions/current")}  # they would end the session of all later requests


@pytest.fixture(scope="module")
async def path_values(client: Client, author: Person, admin: Person) -> dict[str, list[str]]:
    """Return valid values of path parameters."""
    post = await client.publish(author, title="Fuzzed")
    top = await client.comment(admin, post["id"])
    reply = await client.comment(author, post["id"], parent_id=top["id"])
    others = (await client.call("GET", "/v1/me/sessions", who=author)).json["items"]
    return {
        "ref": [post["id"], post["slug"]],
        "post_id": [post["id"], post["slug"]],
        "comment_id": [top["id"], reply["id"]],
        "number": ["1", "2"],
        "person_id": [author.id, admin.id],
        "session_id": [others[0]["id"]],
    }


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "invalid"])
async def test_every_answer_matches_its_description(
    client: Client, admin: Person, path_values: dict[str, list[str]], mode: GenerationMode
) -> None:
    document = (await client.call("GET", "/openapi.json")).json
    schema = schemathesis.openapi.from_dict(document)
    operations = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    assert len(operations) >= 30
    seen: Counter[int] = Counter()
    with requests.Session() as session:
        for operation in operations:
            if (operation.method.upper(), operation.path) not in LAST:
                await asyncio.to_thread(_fuzz, operation, mode, client.url, admin, path_values, session, seen)
    assert seen.total() > 10 * len(operations)
    assert seen.keys() >= {200, 401, 404, 422}


def _fuzz(
    operation: Any,
    mode: GenerationMode,
    url: str,
    admin: Person,
    path_values: dict[str, list[str]],
    session: requests.Session,
    seen: Counter[int],
) -> None:
    choice = random.Random(0)  # the seed of the requests, not a secret

    @settings(
        max_examples=15,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        for name in case.path_parameters or {}:
            if choice.random() < 0.7:
                case.path_parameters[name] = choice.choice(path_values[name])
        headers = {"Authorization": f"Bearer {admin.access_token}"} if choice.random() < 0.8 else {}
        answer = case.call(base_url=url, session=session, headers=headers)
        seen[answer.status_code] += 1
        assert answer.status_code != 500, case.as_curl_command()
        if answer.status_code != 405:  # a path parameter may be empty or contain a slash
            case.validate_response(answer, checks=CONFORMS)
            answer.status_code = 418  # no operation describes it; proves that the checks run
            with pytest.raises(FailureGroup):
                case.validate_response(answer, checks=CONFORMS)

    try:
        ask()
    except Exception as error:
        if "Unsatisfiable" not in type(error).__name__:
            raise
