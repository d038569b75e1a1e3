"""The `rapport` command."""

import logging
import sys
from typing import NoReturn

import structlog
import typer

from services.chassis.errors import Problem
from services.operator.commands import consumer, dead_letter, importing, keys, mail, topics
from services.operator.commands.backup import backup
from services.operator.commands.check import check
from services.operator.commands.doctor import doctor
from services.operator.commands.kafka_access import kafka_access
from services.operator.commands.person import person
from services.operator.commands.republish import republish
from services.operator.commands.rerender import rerender
from services.operator.commands.restore import restore
from services.operator.commands.resync import resync
from services.operator.commands.setup import setup
from services.operator.failures import Failed

app = typer.Typer(name="rapport", help="Operate a Rapport installation.", no_args_is_help=True, add_completion=False)
app.add_typer(person, name="person")
app.add_typer(importing.app, name="import")
app.add_typer(dead_letter.app, name="dead-letter")
app.add_typer(mail.app, name="mail")
app.add_typer(consumer.app, name="consumer")
app.add_typer(topics.app, name="topics")
app.add_typer(keys.app, name="keys")
app.command(epilog="Example: rapport setup --name Beans --author Robin --email robin@example.com")(setup)
app.command(epilog="Example: rapport doctor --dkim-selector mail --disk /var/lib/postgresql")(doctor)
app.command(epilog="Example: rapport backup /backups/2026-11-27")(backup)
app.command(epilog="Example: rapport restore /backups/2026-11-27 comments notify --dry-run")(restore)
app.command("kafka-access", epilog="Example: KAFKA_USERNAME=broker KAFKA_PASSWORD=… rapport kafka-access --show")(
    kafka_access
)
app.command(epilog="Example: rapport republish posts --since 2h")(republish)
app.command(epilog="Example: rapport resync posts")(resync)
app.command(epilog="Example: rapport check --json")(check)
app.command(epilog="Example: rapport rerender comments")(rerender)


def main() -> None:
    """Run the command. A failure ends with one sentence and status 1."""
    logging.basicConfig(level=logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        app()
    except Failed as error:
        _end(str(error))
    except Problem as problem:
        _end("; ".join(f"{error.field} {error.message}" for error in problem.errors) or problem.detail)


def _end(sentence: str) -> NoReturn:
    typer.echo(f"rapport: {sentence}", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
