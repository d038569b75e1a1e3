"""The `rapport` command, with services whose restore applies nothing again."""

import sys

from services.operator.__main__ import main
from services.operator.backups import one_shots

one_shots.program = lambda service: [sys.executable, "-m", "tests.integration.restoring_process", service]

if __name__ == "__main__":
    main()
