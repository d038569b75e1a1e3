"""`python -m deploy.local up|down|status|logs|run|backup|restore …`; the Makefile calls it."""

import argparse
import os
import sys

from deploy.local.layout import Layout
from deploy.local.logs import message
from deploy.local.processes import LocalError


def run_action(action: str, layout: Layout, rest: list[str]) -> int:
    """Do it and return the exit status. Each loads the code that it needs: the supervisor, which stays, little."""
    if action == "supervise":
        from deploy.local import stack

        return stack.main(layout)
    if action == "prepare":
        from deploy.local.prepare import prepare

        prepare(layout)
        return 0
    if action == "restore":
        from deploy.local import restoring

        return restoring.restore(layout, rest)
    from deploy.local import commands

    match action:
        case "up":
            commands.up(layout)
        case "down":
            commands.down(layout)
        case "status":
            everything_runs = commands.status(layout)
            sys.stdout.flush()
            return 0 if everything_runs else 1
        case "logs":
            commands.logs(layout)
        case "run":
            commands.run(layout, rest)
        case "backup":
            commands.backup(layout, rest)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description="The whole stack on this machine.")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("up", help="start everything and wait until it is ready")
    actions.add_parser("down", help="stop everything; the data stays")
    actions.add_parser("status", help="show every process, its memory, restarts and last end")
    actions.add_parser("logs", help="follow all logs")
    run = actions.add_parser("run", help="run a command with the operator's environment")
    run.add_argument("command", nargs=argparse.REMAINDER)
    for name, does in (("backup", "of the databases of the running stack"), ("restore", "into the stopped stack")):
        actions.add_parser(name, help=f"`rapport {name}`, {does}", add_help=False)
    actions.add_parser("supervise", help="run the supervisor, which `up` starts in the background")
    actions.add_parser("prepare", help="make databases, tables and rights, for the supervisor")
    arguments, rest = parser.parse_known_args()
    if rest and arguments.action not in ("backup", "restore"):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        layout = Layout.from_environment()
        if arguments.action in ("up", "backup", "restore", "supervise", "prepare"):
            os.umask(0o077)  # other users of this machine read none of the files
        return run_action(arguments.action, layout, rest if arguments.action != "run" else arguments.command)
    except LocalError as error:
        print(message(str(error)), file=sys.stderr)
        return 1
    except BrokenPipeError:  # `make status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 0 if arguments.action == "logs" else 130


if __name__ == "__main__":
    sys.exit(main())
