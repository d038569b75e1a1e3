"""`python -m deploy.local up|down|status|logs|run …`; the Makefile calls it."""

import argparse
import os
import sys

from deploy.local import commands, stack
from deploy.local.layout import Layout
from deploy.local.logs import message
from deploy.local.processes import LocalError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description="The whole stack on this machine.")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("up", help="start everything and wait until it is ready")
    actions.add_parser("down", help="stop everything; the data stays")
    actions.add_parser("status", help="show every process, its memory, restarts and last end")
    actions.add_parser("logs", help="follow all logs")
    run = actions.add_parser("run", help="run a command with the operator's environment")
    run.add_argument("command", nargs=argparse.REMAINDER)
    actions.add_parser("supervise", help="run the supervisor, which `up` starts in the background")
    arguments = parser.parse_args()
    try:
        layout = Layout.from_environment()
        if arguments.action in ("up", "supervise"):
            os.umask(0o077)  # other users of this machine read none of the files
        match arguments.action:
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
                commands.run(layout, arguments.command)
            case "supervise":
                return stack.main(layout)
    except LocalError as error:
        print(message(str(error)), file=sys.stderr)
        return 1
    except BrokenPipeError:  # `make status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 0 if arguments.action == "logs" else 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
