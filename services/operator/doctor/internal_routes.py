"""Look at every service through an internal route: whether it answers, accepts the operator's key, and has the time."""

import asyncio
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from services.chassis.client.client import ServiceClient, ServiceResponse, within
from services.chassis.client.connection_pool import ConnectionPool
from services.chassis.errors import Problem
from services.chassis.identity import SKEW, Signer
from services.contracts.topics import CONSUMER_GROUPS
from services.operator.calls import SERVICES
from services.operator.doctor.clocks import look_at_clock
from services.operator.doctor.examination import Surroundings
from services.operator.doctor.findings import Finding, fault, ok, warning
from services.operator.doctor.partitions import look_at_partitions

CALL_SECONDS = 10.0
DATE_SECONDS = 1.0  # a Date header has whole seconds, and servers write it anew once a second


async def check_services(around: Surroundings) -> list[Finding]:
    """Check the internal API of every service, and the partitions of its consumer group."""
    try:
        signer = Signer(around.settings.operator_signing_key, "operator")
    except (ValueError, TypeError, KeyError):
        return []  # `check_settings` says it
    async with ConnectionPool() as connections:
        found = await asyncio.gather(*(_look_at(around, name, signer, connections) for name in SERVICES))
    return [finding for of_service in found for finding in of_service]


async def _look_at(around: Surroundings, service: str, signer: Signer, connections: ConnectionPool) -> list[Finding]:
    address = getattr(around.settings, f"{service}_url")
    client = ServiceClient(address, service, signer, connections=connections)
    before = around.now()
    body = {"since": datetime.now(UTC).isoformat(), "dry_run": True}  # it counts the events of no time
    try:
        answer = await client.call("POST", "/republish", body=body, deadline=within(CALL_SECONDS))
    except Problem as problem:
        mend = f"Start `python -m services.{service} api`, or set {service.upper()}_URL to where it is; see its log."
        return [fault(service, f"{address} is unavailable: {problem.detail.rstrip('.')}", mend)]
    after = around.now()
    found = [_clock(service, answer, before, after)]
    refusal = answer.problem()
    if refusal is None:
        found.insert(0, ok(service, f"{address} answers, and accepts the operator's key"))
    elif refusal.kind in ("invalid-token", "forbidden"):
        mend = (
            f"Set OPERATOR_SIGNING_KEY to the key whose public half is in VERIFICATION_KEYS of {service}; see that the "
            "clocks agree."
        )
        found.insert(0, fault(service, f"it does not accept OPERATOR_SIGNING_KEY ({refusal.detail.rstrip('.')})", mend))
        return found
    else:
        mend = f"See the log of {service}, and that its database answers."
        found.insert(0, fault(service, f"it refuses: {refusal.detail.rstrip('.')}", mend))
    if service in CONSUMER_GROUPS:
        found += await look_at_partitions(client, service)
    return found


def _clock(service: str, answer: ServiceResponse, before: float, after: float) -> Finding:
    """Compare the clock of a service with this machine's, as exactly as its header tells."""
    try:
        told = parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        mend = "See that no proxy between here and the service takes its Date header away."
        return warning(f"clock of {service}", "it tells no time", mend)
    difference = told + DATE_SECONDS - (before + after) / 2
    doubt = DATE_SECONDS + (after - before) / 2
    return look_at_clock(service, difference, doubt, SKEW, f": tokens are refused beyond {SKEW} s")
