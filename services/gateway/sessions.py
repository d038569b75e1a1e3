"""Sign people in and out, for the API and for our pages alike."""

import re
from uuid import UUID

from starlette.requests import Request

from services.chassis.client.client import ServiceResponse
from services.chassis.errors import invalid
from services.chassis.mail.addresses import parse_address
from services.contracts.people import LONGEST_USER_AGENT, REQUESTER, USER_AGENT, Register, SignIn
from services.gateway.access.rate_limits import SIGN_IN_PER_ADDRESS
from services.gateway.composition.request_context import RequestContext
from services.gateway.gateway import gateway_of
from services.gateway.guards import network, rate_limit_headers

NOT_PRINTABLE = re.compile(r"[^ -~]")


async def ask_for_mail(
    request: Request, context: RequestContext, path: str, body: Register | SignIn, press: str | None = None
) -> ServiceResponse:
    """Ask people for a mail to the address of the body, and count it.

    It is counted for the mailbox and the network: others cannot use up what its owner needs to sign in. Whether the
    address is known plays no part.

    Args:
        press: names the form that asks, if a page of ours does; its second press asks for no second mail.

    Raises:
        Problem: `invalid`, `too-many-requests`, or what people refused with.
    """
    gateway = gateway_of(request)
    try:
        address = parse_address(body.email)
    except ValueError as error:
        raise invalid("email", str(error)) from None
    requester = network(request, gateway)
    await gateway.rate_limits.spend(rate_limit_headers(request), (SIGN_IN_PER_ADDRESS, f"{address.base} {requester}"))
    return await context.upstreams.people.send(
        "POST",
        path,
        context.viewer.caller,
        context.deadline,
        body=body.model_dump(mode="json", exclude_unset=True),
        headers={REQUESTER: gateway.pseudonyms.of(requester)} | ({} if press is None else {"Idempotency-Key": press}),
    )


def client_headers(request: Request) -> dict[str, str]:
    """Return what the client of a new session calls itself, in printable ASCII, for people to keep."""
    name = NOT_PRINTABLE.sub("", request.headers.get("user-agent", ""))[:LONGEST_USER_AGENT].strip()
    return {USER_AGENT: name} if name else {}


def forget_session(request: Request) -> None:
    """Forget what is remembered of the cookie of this request, because its session ended or its person changed."""
    authentication = gateway_of(request).authentication
    cookie = authentication.cookie(request)
    if cookie is not None:
        authentication.forget(cookie)


def end_session(request: Request, session_id: str) -> None:
    """Refuse a session from now on that people ended, without waiting until people says so."""
    gateway_of(request).revocations.end(UUID(session_id))
    forget_session(request)
