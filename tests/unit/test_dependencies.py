"""The dependencies of pyproject.toml are those that services/ imports; deploy/ has those of the extra `local` too."""

import re
import sys
import tokenize
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

NOT_IMPORTED: dict[str, str] = {}  # and why they are needed


def normalised(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def declared_dependencies(*extras: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = sum((project["optional-dependencies"][extra] for extra in extras), project["dependencies"])
    return {normalised(re.split(r"[\[<>=!~; ]", requirement)[0]) for requirement in requirements}


@cache
def imported_modules(folder: str) -> dict[str, Path]:
    """Return the third-party top-level modules imported in a folder, each with one file that imports it.

    Tokens suffice, and `ast.parse` may raise SystemError on Python 3.11 (cpython issue 106905).
    """
    found: dict[str, Path] = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        statement: list[str] = []
        with path.open() as file:
            for token in tokenize.generate_tokens(file.readline):
                if token.type == tokenize.NEWLINE:
                    statement = []
                elif token.type in (tokenize.NAME, tokenize.OP, tokenize.STRING):
                    statement.append(token.string)
                if len(statement) == 2 and statement[0] in ("import", "from"):
                    found.setdefault(statement[1], path.relative_to(ROOT))
    return {
        name: path for name, path in found.items() if name not in {*sys.stdlib_module_names, "services", "deploy", "."}
    }


def test_every_dependency_is_imported() -> None:
    distributions = packages_distributions()
    imported = {normalised(name) for module in imported_modules("services") for name in distributions[module]}
    assert declared_dependencies() - imported == set(NOT_IMPORTED)


@pytest.mark.parametrize(("folder", "extras"), [("services", ()), ("deploy", ("local",))])
def test_every_import_is_a_declared_dependency(folder: str, extras: tuple[str, ...]) -> None:
    distributions, declared = packages_distributions(), declared_dependencies(*extras)
    undeclared = {
        module: str(path)
        for module, path in imported_modules(folder).items()
        if not declared & {normalised(name) for name in distributions[module]}
    }
    assert undeclared == {}
