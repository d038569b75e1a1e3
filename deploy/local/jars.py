"""The jars of Apache Kafka: exactly those of `kafka.lock`, each checked against its SHA-256.

They are fetched by `jgo`, a Maven client in pure Python, and kept for all checkouts in the user's cache folder.
`python -m deploy.local.jars` resolves the coordinates anew and writes the lock.
"""

import hashlib
import os
import ssl
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from deploy.local.processes import LocalError

COORDINATES = ("org.apache.kafka:kafka_2.13:4.4.0", "org.slf4j:slf4j-simple:1.7.36")
LOCK = Path(__file__).with_name("kafka.lock")
FETCHERS = 8
ATTEMPTS = 6  # over some ten seconds: one lost DNS answer must not end a start
HELP = (
    "Set KAFKA_JARS to a folder that holds them, or KAFKA_BOOTSTRAP_SERVERS to the address of a broker that runs "
    "already."
)


def locked() -> dict[str, str]:
    """Return the lock: coordinate (`group:artifact:version`) to SHA-256."""
    lines = (line.split() for line in LOCK.read_text().splitlines() if line and not line.startswith("#"))
    return {coordinate: digest for digest, coordinate in lines}


def jar_folder() -> Path:
    """Return the folder of the jars: `$XDG_CACHE_HOME/rapport/jars`, by default under `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rapport" / "jars"


def file_name(coordinate: str) -> str:
    """Return the file name of a coordinate: `group:artifact:version` becomes `artifact-version.jar`."""
    return "-".join(coordinate.split(":")[1:]) + ".jar"


def sha256(file: Path) -> str | None:
    """Return the digest of a file, None when the file cannot be read."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return None


def class_path(say: Callable[[str], None] = print) -> str:
    """Return all jars for Java's `-cp`; download those that are missing or damaged in the cache.

    Raises:
        LocalError: a jar cannot be downloaded, or its digest differs from the lock.
    """
    lock = locked()
    given = os.environ.get("KAFKA_JARS")
    folder = Path(given).expanduser() if given else jar_folder()
    missing = {name: digest for name, digest in lock.items() if sha256(folder / file_name(name)) != digest}
    if missing and given:
        names = ", ".join(map(file_name, missing))
        raise LocalError(f"KAFKA_JARS={given} lacks these files, or contains others under their names: {names}.")
    if missing:
        say(f"fetching {len(missing)} of the {len(lock)} jars of Apache Kafka, once (46 MB in all)")
        fetch(missing, folder)
    return os.pathsep.join(str(folder / file_name(name)) for name in lock)


def fetch(wanted: dict[str, str], folder: Path) -> None:
    """Download jars into `folder`; each gets its name only after its digest was checked.

    Raises:
        LocalError: a jar cannot be downloaded, or its digest differs from the lock.
    """
    import stamina
    from jgo.maven import MavenContext

    authorities = ssl.get_default_verify_paths().cafile
    if authorities:  # the machine's own list also contains a company proxy's authority
        os.environ.setdefault("REQUESTS_CA_BUNDLE", authorities)
    stamina.instrumentation.set_on_retry_hooks([])  # an attempt that is repeated is no news
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
        context = MavenContext(repo_cache=Path(scratch), timeout=30)

        def fetch_one(coordinate: str) -> None:
            group, artifact, version = coordinate.split(":")
            try:
                for attempt in stamina.retry_context((OSError, RuntimeError), attempts=ATTEMPTS, wait_initial=0.5):
                    with attempt:
                        file = context.project(group, artifact).at_version(version).artifact().resolve()
            except (OSError, RuntimeError) as error:  # the exceptions of requests are OSErrors
                raise LocalError(f"The jar {coordinate} of Apache Kafka could not be downloaded. {HELP}") from error
            if sha256(file) != wanted[coordinate]:
                raise LocalError(f"The jar {coordinate} that was downloaded differs from {LOCK.name}. {HELP}")
            file.replace(folder / file_name(coordinate))

        with ThreadPoolExecutor(FETCHERS) as pool:
            list(pool.map(fetch_one, wanted))


def resolve() -> dict[str, str]:
    """Resolve `COORDINATES` anew and return coordinate to SHA-256."""
    from jgo.maven import MavenContext
    from jgo.parse import Endpoint

    with tempfile.TemporaryDirectory() as scratch:
        context = MavenContext(repo_cache=Path(scratch), timeout=30)
        parsed = Endpoint.parse("+".join(COORDINATES)).coordinates
        wanted = [context.create_dependency(replace(coordinate, scope="compile")) for coordinate in parsed]
        direct, indirect = context.resolver.resolve(wanted)
        needed = [*direct, *(each for each in indirect if each.scope in ("compile", "runtime"))]
        found = {}
        for artifact in (each.artifact for each in needed):
            digest = sha256(artifact.resolve())
            assert digest is not None
            found[f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}"] = digest
        return found


def main() -> None:
    """Write the lock."""
    lines = [f"{digest}  {coordinate}\n" for coordinate, digest in sorted(resolve().items())]
    LOCK.write_text(
        "# SHA-256 and Maven coordinate of each jar; made by `python -m deploy.local.jars`\n" + "".join(lines)
    )


if __name__ == "__main__":
    main()
