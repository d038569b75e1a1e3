"""`rapport doctor`."""

import asyncio
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer

from services.chassis.runtime.setting_types import split_host
from services.operator.commands.options import Json
from services.operator.doctor import findings
from services.operator.doctor.broker import check_broker
from services.operator.doctor.configuration import check_settings
from services.operator.doctor.disks import check_disks
from services.operator.doctor.examination import Check, Surroundings, examine
from services.operator.doctor.findings import Finding, fault
from services.operator.doctor.internal_routes import check_services
from services.operator.doctor.neighbours import check_mail_server, check_valkey
from services.operator.doctor.processes import check_processes
from services.operator.doctor.sender_dns import check_sender, txt_records
from services.operator.doctor.settings import DoctorSettings
from services.operator.failures import Failed
from services.operator.settings import home, load_as

CHECKS: Mapping[str, Check] = {
    "settings": check_settings,
    "services": check_services,
    "processes": check_processes,
    "Kafka": check_broker,
    "Valkey": check_valkey,
    "mail server": check_mail_server,
    "MAIL_FROM": check_sender,
    "disks": check_disks,
}


def doctor(
    disks: Annotated[
        list[Path] | None, typer.Option("--disk", help="A folder whose disk needs space; may be repeated.")
    ] = None,
    dkim_selector: Annotated[str | None, typer.Option(help="Of the key that signs mails, to look for it.")] = None,
    name_server: Annotated[
        str | None, typer.Option(help="Address[:port] of a name server to ask, such as 9.9.9.9: what others see.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Look at settings, connections, versions, clocks, topics, disks and DNS, and name each mend. It changes nothing.

    It sees what is set here: run it in the environment of the services. Status 1: there is a fault, not only warnings.
    """
    try:
        settings = load_as(DoctorSettings)
    except Failed as error:
        mend = "Correct it; everything else is looked at once the settings can be read."
        _report([fault("settings", str(error).rstrip("."), mend)], as_json)
        raise typer.Exit(1) from None
    resolve = partial(txt_records, server=_server(name_server)) if name_server else txt_records
    around = Surroundings(settings, resolve, disks or _own_disks(), dkim_selector)
    found = asyncio.run(examine(around, CHECKS, lambda sentence: typer.echo(f"rapport: {sentence}", err=True)))
    _report(found, as_json)
    if any(finding.level == "fault" for finding in found):
        raise typer.Exit(1)


def _server(given: str) -> tuple[str, int]:
    try:
        host, port = split_host(given)
        return str(ip_address(host.strip("[]"))), port or 53
    except ValueError:
        raise typer.BadParameter("it must be an IP address, such as 9.9.9.9", param_hint="--name-server") from None


def _own_disks() -> list[Path]:
    """Return the folder of a local stack if there is one, else that of the system."""
    return [home() if home().is_dir() and os.access(home(), os.X_OK) else Path("/")]


def _report(found: Sequence[Finding], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(findings.as_json(found), indent=2))
        return
    width = shutil.get_terminal_size().columns
    for finding in found:
        typer.echo("\n".join(findings.lines(finding, width)))
    typer.echo(findings.summary(found))
