"""Look at every process through its metrics port: whether it is ready, what it runs, and what waits in it."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from urllib.parse import urlsplit

import orjson
from prometheus_client.parser import text_string_to_metric_families

from services.chassis.client.connection_pool import ConnectionPool, Origin
from services.operator.doctor.examination import Surroundings
from services.operator.doctor.findings import Finding, fault, ok, warning
from services.operator.doctor.known_keys import look_at_keys
from services.operator.doctor.waiting_work import look_at_metrics

ANSWER_SECONDS = 8.0
MENDS = {
    "migrations": "Run `python -m services.{service} migrate`, of the version that the process runs.",
    "database": "See that PostgreSQL runs, that …_DATABASE_URL is right, and that it has connections left.",
    "relay": "See that Kafka takes records, and the log of the process; events wait meanwhile, none is lost.",
    "consumer": "See that Kafka answers, and the log of the process.",
    "people": "See that people's api answers the gateway at PEOPLE_URL and accepts its key.",
    "roles": "One of its roles crashed and starts again by itself, later each time; see the log of the process.",
    "running": "It drains after SIGTERM; see that whoever stopped it starts it again.",
}


@dataclass(frozen=True)
class Process:
    """What one process says of itself.

    Attributes:
        parts: whether each of its dependencies works; none if it did not answer.
        metrics: the values of each metric, with their labels.
    """

    address: str
    error: str = ""
    parts: Mapping[str, bool] = field(default_factory=dict)
    metrics: Mapping[str, Sequence[tuple[Mapping[str, str], float]]] = field(default_factory=dict)

    @property
    def service(self) -> str:
        return next((labels["service"] for labels, _ in self.metrics.get("rapport_build_info", ())), "")

    @property
    def version(self) -> str:
        return next((labels["version"] for labels, _ in self.metrics.get("rapport_build_info", ())), "")


async def check_processes(around: Surroundings) -> list[Finding]:
    """Check all processes, the versions that they run, and what their metrics tell."""
    found = await read_processes(around.settings.metrics_addresses)
    answering = [process for process in found if not process.error]
    return [
        *(_readiness(process) for process in found),
        *_versions(answering),
        *look_at_keys([(process.service, process.metrics) for process in answering]),
        *look_at_metrics({process.service for process in answering}, [process.metrics for process in answering]),
    ]


async def read_processes(addresses: Sequence[str]) -> list[Process]:
    """Return what each process tells at its metrics port."""
    async with ConnectionPool() as connections:
        return await asyncio.gather(*(_read(address, connections) for address in addresses))


async def _read(address: str, connections: ConnectionPool) -> Process:
    parts = urlsplit(address)
    origin = Origin(
        parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80), parts.scheme == "https"
    )
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            ready = await connections.request(origin, "GET", "/readyz", {}, None)
            metrics = await connections.request(origin, "GET", "/metrics", {}, None)
        return Process(address, "", orjson.loads(ready.data)["parts"], _parsed(metrics.data.decode()))
    except TimeoutError:
        return Process(address, f"no answer within {ANSWER_SECONDS:g} s")
    except ConnectionRefusedError:
        return Process(address, "nothing listens there")
    except OSError as error:
        return Process(address, error.strerror or type(error).__name__)
    except (ValueError, KeyError, TypeError):
        return Process(address, "it is no metrics port of Rapport")


def _parsed(text: str) -> dict[str, list[tuple[Mapping[str, str], float]]]:
    found: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def _readiness(process: Process) -> Finding:
    if process.error:
        mend = "Start the process (`python -m services.…`), or correct METRICS_URLS or …_METRICS_PORT; see its log."
        return fault(f"process {process.address}", f"it does not answer: {process.error}", mend)
    name = f"{process.service or 'process'} at {process.address}"
    broken = [part for part, works in process.parts.items() if not works]
    if broken:
        broken = ["database"] if "database" in broken and "migrations" in broken else broken
        mends = (MENDS.get(part, f"See the log of the process about {part}.") for part in broken)
        mend = " ".join(mends).format(service=process.service)
        return fault(name, f"not ready: {', '.join(broken)}", mend)
    return ok(name, f"ready: {', '.join(process.parts)}")


def _versions(processes: Sequence[Process]) -> Iterable[Finding]:
    if not processes:
        return
    here = metadata.version("rapport")
    by_version: dict[str, list[str]] = {here: ["this command"]}
    for process in processes:
        by_version.setdefault(process.version, []).append(process.service)
    if len(by_version) == 1:
        yield ok("versions", f"all processes and this command run {here}")
        return
    shown = "; ".join(f"{version}: {', '.join(sorted(set(names)))}" for version, names in sorted(by_version.items()))
    yield warning("versions", f"they differ ({shown})", "Finish the update: deploy one version everywhere.")
