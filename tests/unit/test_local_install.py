"""`install.sh` on machines that lack something: one sentence says what to install."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent.parent / "deploy/local/install.sh"
SYNC = "uv sync --locked --inexact --python python3 --extra local"
TOOLS = ("sh", "dirname", "mkdir", "rm", "touch", "env", "cat")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout with the script only, and a PATH without uv and Python."""
    (tmp_path / "deploy/local").mkdir(parents=True)
    shutil.copy(SCRIPT, tmp_path / "deploy/local/install.sh")
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (tmp_path / "bin" / tool).symlink_to(found)
    return tmp_path


def put(checkout: Path, name: str, script: str) -> None:
    file = checkout / "bin" / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def install(checkout: Path) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(checkout / "deploy/local/install.sh"), "--extra", "local"]
    environment = {"PATH": str(checkout / "bin"), "HOME": str(checkout)}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_a_missing_python_is_reported(checkout: Path) -> None:
    found = install(checkout)
    assert found.returncode == 1
    assert found.stderr.startswith("Python 3.11 or later is needed")


def test_an_old_python_is_refused(checkout: Path) -> None:
    put(checkout, "python3", 'case "$*" in *version_info*) exit 1;; esac')
    assert install(checkout).stderr.startswith("Python 3.11 or later is needed")


def test_an_installed_uv_is_used(checkout: Path) -> None:
    put(checkout, "python3", "exit 0")
    put(checkout, "uv", 'echo "uv $*"')
    found = install(checkout)
    assert found.returncode == 0
    assert found.stdout.splitlines()[-1] == SYNC


def test_a_broken_uv_is_not_used(checkout: Path) -> None:
    put(checkout, "python3", 'case "$*" in "-m "*) exit 1;; esac')
    put(checkout, "uv", "exit 127")
    assert "uv could not be fetched" in install(checkout).stderr


def test_uv_is_installed_in_a_virtual_environment(checkout: Path) -> None:
    fake = (
        'mkdir -p "$4/bin"; for tool in python uv; do printf "#!/bin/sh\\necho $tool \\"\\$@\\"\\n" > "$4/bin/$tool"; '
    )
    fake += 'done; /bin/chmod +x "$4/bin/"*'
    put(checkout, "python3", f'case "$*" in "-m venv"*) {fake};; esac')
    found = install(checkout)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[0] == "fetching uv into .local/tools"
    assert found.stdout.splitlines()[-1] == SYNC


def test_without_venv_pip_installs_uv(checkout: Path) -> None:
    fake = 'mkdir -p "$5/bin"; printf "#!/bin/sh\\necho uv \\"\\$@\\"\\n" > "$5/bin/uv"; /bin/chmod +x "$5/bin/uv"'
    put(
        checkout,
        "python3",
        f'case "$*" in "-m venv"*) exit 1;; "-m pip install --quiet --target"*) shift; {fake};; esac',
    )
    found = install(checkout)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1] == SYNC


def test_without_venv_and_pip_the_options_are_listed(checkout: Path) -> None:
    put(checkout, "python3", 'case "$*" in "-m "*) exit 1;; esac')
    found = install(checkout)
    assert found.returncode == 1
    assert "install one of uv, python3-venv and python3-pip" in found.stderr
