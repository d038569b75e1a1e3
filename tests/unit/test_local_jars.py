"""The jars of Kafka: only those with a locked digest."""

import hashlib
import os
from pathlib import Path

import pytest
import stamina

from deploy.local import jars
from deploy.local.processes import LocalError

NAMES = ("org.example:broker:1.0", "org.example:logging:2.1")


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in NAMES}
    file = tmp_path / "kafka.lock"
    file.write_text("# a remark\n" + "".join(f"{digest}  {name}\n" for name, digest in digests.items()))
    monkeypatch.setattr(jars, "LOCK", file)
    monkeypatch.delenv("KAFKA_JARS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return digests


def put(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / jars.file_name(name)).write_text(name)


def test_the_real_lock_contains_kafka_and_no_jar_twice() -> None:
    found = jars.locked()
    assert "org.apache.kafka:kafka_2.13:4.4.0" in found
    assert all(len(digest) == 64 for digest in found.values())
    assert len({jars.file_name(name) for name in found}) == len(found)


def test_the_cache_is_in_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/somewhere")
    assert jars.jar_folder() == Path("/somewhere/.cache/rapport/jars")


def test_intact_jars_are_not_downloaded(lock: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    put(jars.jar_folder(), *NAMES)
    monkeypatch.setattr(jars, "fetch", lambda *_: pytest.fail("fetched"))
    paths = jars.class_path().split(os.pathsep)
    assert [Path(path).name for path in paths] == ["broker-1.0.jar", "logging-2.1.jar"]


def test_only_the_damaged_jar_is_downloaded(lock: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    put(jars.jar_folder(), *NAMES)
    (jars.jar_folder() / "broker-1.0.jar").write_text("tampered with")
    asked: list[dict[str, str]] = []
    monkeypatch.setattr(jars, "fetch", lambda wanted, folder: asked.append(wanted))
    jars.class_path(lambda line: None)
    assert asked == [{NAMES[0]: lock[NAMES[0]]}]


def test_a_given_folder_must_contain_all_jars(
    lock: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tmp_path / "given"
    put(given, NAMES[0])
    monkeypatch.setenv("KAFKA_JARS", str(given))
    with pytest.raises(LocalError, match=r"lacks these files.*logging-2\.1\.jar"):
        jars.class_path()
    put(given, NAMES[1])
    assert len(jars.class_path().split(os.pathsep)) == 2


class FakeRepository:
    """A stand-in for a Maven repository with the test's artifacts."""

    def __init__(self, repo_cache: Path, timeout: int) -> None:
        self._folder = repo_cache
        self._name = ""

    def project(self, group: str, artifact: str) -> "FakeRepository":
        self._name = artifact
        return self

    def at_version(self, version: str) -> "FakeRepository":
        return self

    def artifact(self) -> "FakeRepository":
        return self

    def resolve(self) -> Path:
        if self._name == "logging":
            raise OSError("no route to the repository")
        file = self._folder / self._name
        file.write_text("something else")
        return file


@pytest.mark.parametrize(
    ("name", "reason"),
    [(NAMES[0], "differs from"), (NAMES[1], "could not be downloaded")],
    ids=["wrong", "unreachable"],
)
def test_a_failed_download_is_explained_with_the_alternatives(
    lock: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reason: str
) -> None:
    monkeypatch.setattr("jgo.maven.MavenContext", FakeRepository)
    with stamina.set_testing(True), pytest.raises(LocalError, match=rf"{reason}.*KAFKA_JARS.*KAFKA_BOOTSTRAP_SERVERS"):
        jars.fetch({name: lock[name]}, tmp_path / "jars")
    assert list((tmp_path / "jars").iterdir()) == []


class UnreliableRepository(FakeRepository):
    """A repository that is unreachable the first two times."""

    failures = 2

    def resolve(self) -> Path:
        if UnreliableRepository.failures:
            UnreliableRepository.failures -= 1
            raise ConnectionError("temporary failure in name resolution")
        file = self._folder / self._name
        file.write_text(NAMES[0])
        return file


def test_a_download_is_repeated_after_a_network_error(
    lock: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jgo.maven.MavenContext", UnreliableRepository)
    with stamina.set_testing(True, attempts=3):
        jars.fetch({NAMES[0]: lock[NAMES[0]]}, tmp_path / "jars")
    assert [file.name for file in (tmp_path / "jars").iterdir()] == ["broker-1.0.jar"]
