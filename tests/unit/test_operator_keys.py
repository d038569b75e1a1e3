"""Replace keys in their file: each step, what is refused, and what an interruption leaves."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import pytest
from dotenv import dotenv_values
from typer.testing import CliRunner, Result

from services.chassis.identity import Signer, Verifier
from services.notify.settings import parse_other_secrets
from services.notify.tokens import Tokens
from services.operator.__main__ import app
from services.operator.doctor.processes import Process
from services.operator.failures import Failed
from services.operator.key_file import KeyFile, opened
from services.operator.key_rotation import DerivationSecret, SigningKey, read
from services.operator.key_users import obstacles_to_drop, obstacles_to_switch
from services.operator.keys import generate_keys
from tests.stack import ROOT

OTHERS = "# made on Monday\nexport PUBLIC_URL=https://example.org\nPOSTGRES_PASSWORD=a'b c\"#d\n"
PERSON = UUID(int=7)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.env"
    path.write_text(OTHERS + "".join(f"{name}='{value}'\n" for name, value in generate_keys().items()))
    path.chmod(0o640)
    return path


def run(file: Path, *arguments: str) -> Result:
    if "--restarted" in arguments:
        os.utime(file, (0, 0))  # nobody has changed it since
    return CliRunner().invoke(app, ["keys", *arguments, "--file", str(file)])


def done(file: Path, *arguments: str) -> dict[str, object]:
    ended = run(file, *arguments, "--json")
    assert ended.exit_code == 0, ended.exception
    told: dict[str, object] = json.loads(ended.output)
    return told


def refusal(file: Path, *arguments: str) -> str:
    before = file.read_text()
    ended = run(file, *arguments)
    assert isinstance(ended.exception, Failed), ended.output
    assert file.read_text() == before
    return str(ended.exception)


def variables(file: Path) -> dict[str, str]:
    return {name: value or "" for name, value in dotenv_values(file).items()}


def key_of(file: Path, name: str) -> SigningKey:
    with opened(file) as keys:
        key = read(keys, name)
    assert isinstance(key, SigningKey)
    return key


@pytest.mark.parametrize("issuer", ["gateway", "notify", "operator", "people"])
def test_no_step_refuses_what_the_step_before_signs(file: Path, issuer: str) -> None:
    own = f"{issuer.upper()}_SIGNING_KEY"
    steps = [variables(file)]
    for step in (["rotate", issuer], ["switch", issuer, "--restarted", "1m"], ["drop", issuer, "--restarted", "2h"]):
        done(file, *step)
        steps.append(variables(file))
    for before, after in pairwise(steps):  # some processes have started again, some have not
        for signing, verifying in ((before, before), (before, after), (after, before), (after, after)):
            if signing is before and before is steps[2] and verifying is after:
                continue  # nobody signs with the earlier key when it is dropped
            token = Signer(signing[own], issuer).token("posts")
            assert Verifier(verifying["VERIFICATION_KEYS"], "posts").verify(token).issuer == issuer
    assert [json.loads(each[own])["kid"] for each in steps] == [f"{issuer}-{number}" for number in (1, 1, 2, 2)]
    kept = json.loads(steps[3]["VERIFICATION_KEYS"])["keys"]
    assert sorted(each["kid"] for each in kept) == sorted(
        f"{each}-{2 if each == issuer else 1}" for each in ("gateway", "notify", "operator", "people")
    )
    assert f"{issuer.upper()}_OTHER_SIGNING_KEY" not in steps[3]
    assert done(file, "rotate", issuer)["also_accepted"] == [f"{issuer}-3"]


def test_links_by_earlier_secrets_work_until_they_are_given_up(file: Path) -> None:
    links = []
    for _ in range(3):
        found = variables(file)
        others = parse_other_secrets(found.get("NOTIFY_OTHER_SECRETS", ""))
        tokens = Tokens(found["NOTIFY_SECRET"], "example.org", others)
        links.append(tokens.unsubscribe(PERSON))
        assert [tokens.person(link) for link in links] == [PERSON] * len(links)
        done(file, "rotate", "notify-secret")
        following = parse_other_secrets(variables(file)["NOTIFY_OTHER_SECRETS"])[0]
        assert tokens.person(Tokens(following, "example.org").unsubscribe(PERSON)) is None
        done(file, "switch", "notify-secret", "--restarted", "1m")
    assert "--links-end" in refusal(file, "drop", "notify-secret")
    assert "secret 4 is in use" in run(file, "drop", "notify-secret", "--links-end").output
    assert "NOTIFY_OTHER_SECRETS" not in variables(file)
    assert Tokens(variables(file)["NOTIFY_SECRET"], "example.org").person(links[0]) is None


def test_a_next_key_that_never_signed_can_be_taken_back(file: Path) -> None:
    before = variables(file)
    for name in ("gateway", "notify-secret"):
        done(file, "rotate", name)
        assert variables(file) != before
        done(file, "drop", name, *(["--restarted", "1s"] if name == "gateway" else []))
        assert variables(file) == before


def test_the_rest_of_the_file_and_its_rights_stay(file: Path) -> None:
    done(file, "rotate", "people")
    assert file.read_text().startswith(OTHERS)
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in file.parent.iterdir()] == ["keys.env"]
    link = file.parent / "link.env"
    link.symlink_to(file)
    done(link, "switch", "people", "--restarted", "1m")
    assert link.is_symlink()
    assert key_of(file, "people").own_id == "people-2"


def test_a_dry_run_changes_nothing(file: Path) -> None:
    before = file.read_text()
    told = done(file, "rotate", "gateway", "--dry-run")
    assert told["would_change"] == ["GATEWAY_OTHER_SIGNING_KEY", "VERIFICATION_KEYS"]
    assert file.read_text() == before
    assert "gateway: gateway-1 is in use.\n" in run(file, "status").output


def test_steps_out_of_turn_are_refused(file: Path) -> None:
    assert "no next key" in refusal(file, "switch", "gateway")
    assert "nothing to drop" in refusal(file, "drop", "gateway")
    wrong = run(file, "rotate", "mine")
    assert (wrong.exit_code, "there is no key 'mine'" in wrong.output) == (2, True)
    done(file, "rotate", "gateway")
    assert "rapport keys switch gateway" in refusal(file, "rotate", "gateway")
    assert "does not answer" in refusal(file, "switch", "gateway")
    assert "lies ahead" in refusal(file, "switch", "gateway", "--restarted", "2999-01-01")
    done(file, "switch", "gateway", "--restarted", "1m")
    assert "rapport keys drop gateway" in refusal(file, "rotate", "gateway")
    assert "may be valid for" in refusal(file, "drop", "gateway", "--restarted", "5s")
    assert "may be valid for" not in run(file, "drop", "gateway", "--restarted", "71s").output
    done(file, "rotate", "people")
    done(file, "switch", "people", "--restarted", "1m")
    assert "may be valid for" in refusal(file, "drop", "people", "--restarted", "19m")
    done(file, "drop", "people", "--restarted", "21m")


def without(name: str) -> Callable[[str], str]:
    return lambda text: "".join(line for line in text.splitlines(True) if not line.startswith(f"{name}="))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (without("GATEWAY_SIGNING_KEY"), "has no GATEWAY_SIGNING_KEY"),
        (without("VERIFICATION_KEYS"), "has no VERIFICATION_KEYS"),
        (lambda text: text + "GATEWAY_SIGNING_KEY=x\n", "GATEWAY_SIGNING_KEY stands in"),
        (lambda text: without("GATEWAY_SIGNING_KEY")(text) + "GATEWAY_SIGNING_KEY='{\n", "cannot be read"),
        (lambda text: without("GATEWAY_SIGNING_KEY")(text) + "GATEWAY_SIGNING_KEY=[]\n", "no private key of gateway"),
        (lambda text: without("VERIFICATION_KEYS")(text) + "VERIFICATION_KEYS=[]\n", "is not a JSON Web Key Set"),
        (lambda text: "gateway-9".join(text.rsplit("gateway-1", 1)), "lacks gateway-1"),
        (lambda text: text.replace("gateway-1", "people-7", 1), "no private key of gateway"),
    ],
)
def test_a_file_that_does_not_go_together_is_refused(file: Path, change: Callable[[str], str], sentence: str) -> None:
    file.write_text(change(file.read_text()))
    assert sentence in refusal(file, "rotate", "gateway")


def test_files_that_cannot_be_used_are_named(file: Path, tmp_path: Path) -> None:
    assert "There is no file" in str(run(tmp_path / "none.env", "status").exception)
    with opened(file):
        assert "Another command changes" in refusal(file, "rotate", "gateway")
    quoted = KeyFile(file, "A=1\n", 0.0)
    with pytest.raises(Failed, match="quotation mark"):
        quoted.with_values({"A": "it's"})
    file.write_bytes(b"\xff\xfe")
    assert "not text in UTF-8" in str(run(file, "status").exception)


@pytest.mark.parametrize(("point", "step"), [("keys.written", "single"), ("keys.replaced", "added")])
def test_an_interruption_leaves_the_file_of_before_or_of_after(file: Path, point: str, step: str) -> None:
    command = [sys.executable, "-m", "services.operator", "keys", "rotate", "gateway", "--file", str(file)]
    killed = subprocess.run(command, cwd=ROOT, env=os.environ | {"FAILPOINTS": point}, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert key_of(file, "gateway").step == step
    if step == "single":
        done(file, "rotate", "gateway")
    done(file, "switch", "gateway", "--restarted", "1m")
    assert key_of(file, "gateway").own_id == "gateway-2"


def process(service: str, *, error: str = "", **metrics: list[tuple[dict[str, str], float]]) -> Process:
    about = {f"rapport_{name}": values for name, values in metrics.items() if name != "started"}
    about["rapport_build_info"] = [({"service": service, "version": "1"}, 1.0)]
    if "started" in metrics:
        about["process_start_time_seconds"] = metrics["started"]
    return Process(f"http://{service}:9100", error, {}, {} if error else about)


def shown(*thumbprints: str) -> list[tuple[dict[str, str], float]]:
    return [({"kid": "any", "thumbprint": each}, 1.0) for each in thumbprints]


def test_a_key_signs_only_when_every_process_accepts_it(file: Path) -> None:
    done(file, "rotate", "gateway")
    key = key_of(file, "gateway")
    both = shown(key.own_thumbprint, key.other_thumbprint)
    knows, late = process("posts", verification_key=both), process("people", verification_key=shown(key.own_thumbprint))
    relay, away = process("posts"), process("notify", error="nothing listens there")
    assert obstacles_to_switch(key, [knows, relay]) == []
    [sentence] = obstacles_to_switch(key, [knows, late, relay])
    assert sentence == "people at http://people:9100 does not accept gateway-2 yet: start it again."
    assert "notify:9100 does not answer" in obstacles_to_switch(key, [knows, away])[0]
    assert obstacles_to_switch(key, [relay])


def test_a_secret_is_used_only_when_notify_accepts_it() -> None:
    secret = DerivationSecret("first", ["2.second"])
    both = [({"number": "1"}, 1.0), ({"number": "2"}, 1.0)]
    assert obstacles_to_switch(secret, [process("notify", accepted_secret=both), process("posts")]) == []
    [sentence] = obstacles_to_switch(secret, [process("notify", accepted_secret=both[:1])])
    assert "does not accept secret 2 yet" in sentence


def test_a_key_is_dropped_only_when_nothing_it_signed_is_valid(file: Path) -> None:
    done(file, "rotate", "gateway")
    done(file, "switch", "gateway", "--restarted", "1m")
    key = key_of(file, "gateway")

    def obstacles(*processes: Process, now: float = 1100.0) -> list[str]:
        return obstacles_to_drop(key, processes, now=now, switched_at=0.0)

    def signing(thumbprint: str, *started: float) -> Process:
        return process("gateway", signing_key=shown(thumbprint), started=[({}, each) for each in started])

    new = signing(key.own_thumbprint, 1000.0)
    assert obstacles(new) == []
    assert obstacles(new, now=1069.0) == ["What gateway-1 signed may be valid for 2 s more: try again after that."]
    assert obstacles(new, signing(key.own_thumbprint, 1099.0)) != []
    assert "signs with gateway-1" in obstacles(new, signing(key.other_thumbprint, 1.0))[0]
    assert "does not answer" in obstacles(new, process("gateway", error="no answer"))[0]
    assert "No process that signs" in obstacles(process("posts"))[0]
    assert "--restarted" in obstacles(signing(key.own_thumbprint))[0]


def test_nobody_can_have_started_before_the_file_was_changed(file: Path) -> None:
    done(file, "rotate", "gateway")
    for _ in range(2):
        ended = CliRunner().invoke(app, ["keys", "switch", "gateway", "--restarted", "2h", "--file", str(file)])
        assert "was changed at" in str(ended.exception)
    assert key_of(file, "gateway").step == "added"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NOTIFY_SECRET=abc#def-long-secret-0123456789-0123456789", "abc#def-long-secret-0123456789-0123456789"),
        ("NOTIFY_SECRET='abc' # of Monday", "abc"),
        ("export NOTIFY_SECRET=abc\r", "abc"),
        ('NOTIFY_SECRET="abc"', "abc"),
        ("NOTIFY_SECRET='$a`b'", "$a`b"),
    ],
)
def test_a_value_is_read_as_a_shell_and_compose_read_it(file: Path, line: str, value: str) -> None:
    assert KeyFile(file, f"# first\n{line}\nA=1\n", 0.0).value("NOTIFY_SECRET") == value


@pytest.mark.parametrize("raw", ['"ab$${x}c"', "ab$c", "a\\b", "`id`", "'a", "a b"])
def test_a_value_that_can_be_read_in_two_ways_is_refused(file: Path, raw: str) -> None:
    with pytest.raises(Failed, match="in single quotes"):
        KeyFile(file, f"NOTIFY_SECRET={raw}\n", 0.0).value("NOTIFY_SECRET")


def test_other_lines_and_their_ends_stay_as_they_are(file: Path) -> None:
    text = "A=1\r\nMAIL_FROM=\"R\x85x\"\r\nB='2'\r\n\x0cC=3\u2028D\r\n"
    changed = KeyFile(file, text, 0.0).with_values({"B": "3"})
    assert changed == text.replace("B='2'", "B='3'")


def test_a_step_tells_what_comes_next(file: Path) -> None:
    done(file, "rotate", "gateway")
    switched = run(file, "switch", "gateway", "--restarted", "1m").output
    assert "gateway-2 is in use from its next start on; accepted too: gateway-1." in switched
    dropped = run(file, "drop", "gateway", "--restarted", "2h").output
    assert "Start every process again: until then gateway-1 is accepted." in dropped


def test_what_a_killed_command_left_is_taken_away(file: Path) -> None:
    (file.parent / ".keys.env.new").write_text("secret")
    done(file, "rotate", "gateway")
    assert [path.name for path in file.parent.iterdir()] == ["keys.env"]
    os.mkfifo(file.parent / "pipe")
    assert "no regular file" in str(run(file.parent / "pipe", "status").exception)
