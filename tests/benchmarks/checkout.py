"""Build a commit beside this one, so that its processes can be run from outside."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.stack import ROOT

FOLDER = ROOT / ".local" / "bench"
INSTALL = ("deploy/local/install.sh", "--extra", "local", "--no-dev", "--compile-bytecode")
FINISHED = ".local/built"  # made in a checkout when its environment is complete


class CheckoutError(Exception):
    """A commit cannot be measured. The message is one sentence that says why."""


@dataclass(frozen=True)
class Checkout:
    """One version of the product, with an environment of its own.

    Attributes:
        name: what the report calls it.
        root: where its processes run.
        python: the interpreter of its environment.
    """

    name: str
    root: Path
    python: Path


def present() -> Checkout:
    """Describe the checkout that this code belongs to."""
    name = _git("rev-parse", "--short", "HEAD") or "no commit"
    changed = bool(_git("status", "--porcelain", "--", "services", "pyproject.toml", "uv.lock"))
    return Checkout(f"{name} and uncommitted changes" if changed else name, ROOT, Path(sys.executable))


def build_present(say: Callable[[str], None]) -> Checkout:
    """Give the checkout that this code belongs to an environment such as the base has: the same packages, compiled.

    The environment that runs this has packages for the tests, some of which the product's processes would load.

    Raises:
        CheckoutError: it could not be built.
    """
    checkout = present()
    environment = FOLDER / "environment"
    say(f"building this {checkout.name} in {environment.relative_to(ROOT)} …")
    _install(f"this {checkout.name}", checkout.root, environment)
    return Checkout(checkout.name, checkout.root, environment / "bin/python")


def resolve(ref: str) -> str:
    """Find the full id of a commit.

    Raises:
        CheckoutError: git knows no such commit here.
    """
    sha = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if not sha:
        raise CheckoutError(f"BASE={ref} names no commit of this repository: give a branch, a tag or a commit id.")
    return sha


def build(ref: str, say: Callable[[str], None]) -> Checkout:
    """Unpack a commit into `.local/bench` and install its environment, or use what is there from an earlier run.

    Raises:
        CheckoutError: there is no such commit, or it could not be built.
    """
    sha = resolve(ref)
    short = sha[:7]
    root = FOLDER / sha
    checkout = Checkout(short, root, root / ".venv/bin/python")
    if (root / FINISHED).exists():
        say(f"base {short} is built already, in {root.relative_to(ROOT)}")
        return checkout
    say(f"building base {short} in {root.relative_to(ROOT)} …")
    if not root.exists():
        _unpack(sha, root)
    _install(f"base {short}", root, root / ".venv")
    (root / FINISHED).parent.mkdir(exist_ok=True)  # the installation makes it only where it has to fetch uv
    (root / FINISHED).touch()
    return checkout


def _unpack(sha: str, root: Path) -> None:
    """Write the files of a commit; the folder gets its name when it is complete."""
    unfinished = root.with_suffix(".new")
    unfinished.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(["git", "archive", sha], cwd=ROOT, stdout=subprocess.PIPE) as archive:
        unpacked = subprocess.run(["tar", "-x", "-C", str(unfinished)], stdin=archive.stdout)
    if archive.returncode or unpacked.returncode:
        raise CheckoutError(f"The files of base {sha[:7]} could not be unpacked into {unfinished}.")
    unfinished.rename(root)


def _install(name: str, root: Path, environment: Path) -> None:
    """Make an environment with the commit's own installer and the interpreter that runs this, and compile the code."""
    interpreter = os.environ.get("PYTHON") or str(Path(sys.executable).resolve())
    variables = dict(os.environ) | {
        "PATH": f"{os.environ['PATH']}:{ROOT / '.local/tools/bin'}",  # where uv is, if it was fetched
        "PYTHON": interpreter,
        "UV_PYTHON": interpreter,
        "UV_PROJECT_ENVIRONMENT": str(environment),
    }
    variables.pop("VIRTUAL_ENV", None)
    log = environment.with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("wb") as output:
            code = subprocess.run(INSTALL, cwd=root, env=variables, stdout=output, stderr=output).returncode
    except OSError as error:
        raise CheckoutError(f"{name} could not be built: {INSTALL[0]} does not run ({error.strerror}).") from None
    if code == 0:  # compiling at the first start would cost memory that later starts do not need
        code = subprocess.run([environment / "bin/python", "-m", "compileall", "-q", "services"], cwd=root).returncode
    if code != 0:
        raise CheckoutError(f"{name} could not be built: {INSTALL[0]} ended with {code}; its output is in {log}.")


def _git(*arguments: str) -> str:
    """Run git and return what it prints; nothing when it fails."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.strip()
