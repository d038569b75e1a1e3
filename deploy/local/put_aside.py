"""Note which databases a restore has put aside, so that one that is killed can be undone."""

import json
from pathlib import Path

from deploy.local.layout import Layout
from deploy.local.processes import LocalError

PUT_BACK = "--put-back"


def record(layout: Layout) -> Path:
    """Return the file that names the databases which a restore has put aside, while it is under way."""
    return layout.home / "put-aside.json"


def check_not_interrupted(layout: Layout) -> None:
    """Refuse to start on databases that an interrupted restore has left empty.

    Raises:
        LocalError: there are some; the sentence says how they come back.
    """
    if record(layout).exists():
        names = json.loads(record(layout).read_text())
        raise LocalError(
            f"`make restore` was interrupted: the databases of {', '.join(sorted(names))} are put aside. Repeat it, or "
            f'give these services their databases back with: make restore ARGS="{PUT_BACK}"'
        )
