"""A real Prometheus that scrapes the processes of a stack every second, with the rules of deploy/observability."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import aiohttp
import yaml

from tests.installed import Installed
from tests.servers import free_port
from tests.stack import Part

RULES = Path(__file__).parent.parent / "deploy/observability/rapport.rules.yaml"
DURATION = r"(?<=\[)\d+[smh](?=\])|(?<=_seconds\) > )\d+"  # in an expression: of a range, or an age that is too much
RANGE_SECONDS = 8  # longer than a few scrapes, shorter than a test
OLD_SECONDS = 5
FOR = "1s"

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: rapport
    file_sd_configs: [{{files: [{targets}], refresh_interval: 1s}}]
"""


def quickened(rules: dict[str, Any]) -> dict[str, Any]:
    """Return the rules with shorter durations; nothing else of an expression is changed."""
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["for"] = FOR
            rule["expr"] = re.sub(DURATION, _shorter, rule["expr"])
    return rules


def _shorter(duration: re.Match[str]) -> str:
    return str(OLD_SECONDS) if duration[0].isdigit() else f"{RANGE_SECONDS}s"


class Prometheus(Installed):
    """A Prometheus with its data in a folder.

    Args:
        parts: returns the processes to scrape, which may change.
    """

    def __init__(self, folder: Path, parts: Callable[[], list[Part]]) -> None:
        self._rules, self._targets = folder / "quick.rules.yaml", folder / "targets.json"
        self._parts = parts
        config = CONFIG.format(rules=self._rules, targets=self._targets)
        port = free_port()
        arguments = [
            "--config.file={config}",
            "--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        ]
        super().__init__("prometheus", folder, port, config, arguments)

    def prepare(self) -> None:
        super().prepare()
        self._rules.write_text(yaml.safe_dump(quickened(yaml.safe_load(RULES.read_text()))))
        self.follow()

    def ready(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=1) as answer:  # 503 while it reads its data
                return bool(answer.status == 200)
        except OSError:
            return False

    def follow(self) -> None:
        """Scrape the processes that there are now; one that died is still asked."""
        text = json.dumps([{"targets": [f"127.0.0.1:{part.metrics_port}" for part in self._parts()]}])
        if self._targets.exists() and self._targets.read_text() == text:
            return
        hidden = self._targets.with_suffix(".new")
        hidden.write_text(text)
        hidden.rename(self._targets)

    async def alarms(self) -> list[dict[str, str]]:
        """Return the labels of every alarm that rings."""
        self.follow()
        found = (await self._ask("alerts"))["alerts"]
        return [each["labels"] for each in found if each["state"] == "firing"]

    async def scraped(self) -> int:
        """Return how many processes have answered the last time."""
        found = (await self._ask("query?query=sum(up)"))["result"]
        return int(found[0]["value"][1]) if found else 0

    async def rings(self, alarm: str, **labels: str) -> bool:
        """Return whether an alarm rings, with these labels among its own."""
        wanted = labels | {"alertname": alarm}
        return any(wanted.items() <= each.items() for each in await self.alarms())

    async def _ask(self, what: str) -> Any:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.port}/api/v1/{what}") as answer,
        ):
            return (await answer.json())["data"]
