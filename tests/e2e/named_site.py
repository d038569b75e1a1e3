"""The site of the end-to-end tests, as a person names it with `rapport setup` before it starts for the first time."""

import json
import os
import subprocess
import sys
from pathlib import Path

from deploy.local.environment import mail_from
from deploy.local.layout import Layout, settings_in
from tests.stack import ROOT

NAME = "Ada's Letters & Notes"
TAGLINE = "Written by hand, <answered> late"
NOWHERE = "http://127.0.0.1:9"  # nothing runs yet


def named(home: Path) -> dict[str, str]:
    """Name the site and its first author; return the settings with which `make up` starts it then.

    Args:
        home: the folder in which the settings are kept.
    """
    given = ("--name", NAME, "--tagline", TAGLINE, "--author", "Ada Admin", "--email", "admin@example.com")
    ended = subprocess.run(
        [sys.executable, "-m", "services.operator", "setup", *given, "--json"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "RAPPORT_HOME": str(home)}
        | dict.fromkeys(("PUBLIC_URL", "PEOPLE_URL"), NOWHERE),
        check=True,
        capture_output=True,
        text=True,
    )
    told = json.loads(ended.stdout)
    assert (told["author"], told["administrator"], told["next"][0]) == ("away", True, "make up")
    settings = settings_in(home)
    return settings | mail_from(Layout(home, settings))
