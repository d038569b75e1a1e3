"""Files inside installed wheels, found without importing the wheel's code."""

from importlib.util import find_spec
from pathlib import Path

from deploy.local.processes import LocalError


def package_folder(package: str) -> Path:
    """Return the folder of an installed package.

    Raises:
        LocalError: the package is not installed.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise LocalError(f"The package {package} is missing: run `uv sync --locked --extra local`.")
    return Path(spec.submodule_search_locations[0])


def package_file(package: str, pattern: str) -> Path:
    """Return the one file of a package that matches a glob pattern.

    Raises:
        LocalError: there is none, which means that the wheel does not support this machine.
    """
    found = sorted(package_folder(package).glob(pattern))
    if not found:
        raise LocalError(
            f"The package {package} contains no {Path(pattern).name} for this machine: "
            "run that server yourself and set its address in the environment (see docs/operations.md)."
        )
    return found[0]
