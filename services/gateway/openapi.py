"""Write the OpenAPI document of the public API as a file, for readers who do not run a gateway.

python -m services.gateway.openapi            writes docs/openapi/gateway.json
python -m services.gateway.openapi --check    writes nothing; ends with status 1 if the file would change
"""

import argparse
import json
import sys
from pathlib import Path

from fastapi import FastAPI

from services.gateway.apidocs.document import describe
from services.gateway.app import ROUTERS

FILE = Path("docs/openapi/gateway.json")


def text() -> str:
    """Return the document as it is written; its server is the one that serves it."""
    app = FastAPI()
    for router in ROUTERS:
        app.include_router(router)
    return json.dumps(describe(app, "/"), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the document, or check it."""
    parser = argparse.ArgumentParser(prog="python -m services.gateway.openapi", description="The OpenAPI document.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if it would change")
    parser.add_argument("--file", type=Path, default=FILE)
    arguments = parser.parse_args()
    wanted = text()
    if arguments.file.exists() and arguments.file.read_text() == wanted:
        return
    sys.stdout.write(f"{arguments.file}\n")
    if arguments.check:
        sys.exit(1)
    arguments.file.parent.mkdir(parents=True, exist_ok=True)
    arguments.file.write_text(wanted)


if __name__ == "__main__":
    main()
