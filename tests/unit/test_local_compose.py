"""docker-compose.yml and the image: every role runs, and each process gets its own secrets only."""

import re
import ssl
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from pydantic_settings import BaseSettings

from deploy.local import dotenv, trial_certificate
from deploy.local.environment import OTHER_SECRETS, OWN_SECRETS, SECRETS
from deploy.local.kafka import BROKER
from deploy.local.layout import DATABASES, PORTS
from services.chassis.mail.smtp import SmtpSettings
from services.chassis.runtime.secret_files import secret_fields
from services.contracts.broker_rights import ACCOUNTS

ROOT = Path(__file__).parent.parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
BACKUP = SERVICES["backup"]  # the only one that reaches every database
OURS = {name: found for name, found in SERVICES.items() if "RAPPORT_IMAGE" in found["image"] and found != BACKUP}
COMMANDS = {"operator", "kafka-access"}  # they run the `rapport` command
FIXED = {"HOST", "INSTANCE", *PORTS} - {"SMTP_PORT"}  # the image and the container's name set them
DOCTORS = {"MAIL_FROM", "METRICS_URLS"}  # what else `rapport doctor` reads is not for every command
ADDRESSES = {f"{service.upper()}_URL" for service in DATABASES}  # of the containers
ROLES = {
    "posts": {"api", "relay", "publisher", "consumer", "migrate"},
    "comments": {"api", "relay", "consumer", "migrate"},
    "people": {"api", "relay", "mailer", "migrate"},
    "notify": {"api", "relay", "consumer", "mailer", "migrate"},
    "gateway": {"all"},
}


def owner(name: str) -> str:
    return name.partition("-")[0]


def test_every_role_of_every_service_runs_once() -> None:
    wanted = sorted([f"services.{service}", role] for service, roles in ROLES.items() for role in roles)
    assert sorted(found["command"] for name, found in OURS.items() if name not in COMMANDS) == wanted


@pytest.mark.parametrize("name", OURS)
def test_each_process_gets_its_own_secrets_only(name: str) -> None:
    given = OURS[name]["environment"].keys()
    service = owner(name)
    assert SECRETS & given == set(OWN_SECRETS.get(service, ()))
    assert {*OTHER_SECRETS.values()} & given == {name for owned, name in OTHER_SECRETS.items() if owned == service}
    databases = {variable for variable in given if variable.endswith("_DATABASE_URL")}
    assert databases == ({f"{service.upper()}_DATABASE_URL"} if service in DATABASES else set())
    folder = BROKER if name == "kafka-access" else service
    folders = {volume["target"]: volume["source"].rpartition("/")[2] for volume in OURS[name]["volumes"]}
    assert folders == {"/run/rapport": folder} | ({"/run/mail": "mail"} if name.endswith("-mailer") else {})
    for volume in OURS[name]["volumes"]:
        assert volume["source"].startswith("${FILES_FOLDER:-./files}/")
        assert (volume["type"], volume["read_only"], volume["bind"]) == ("bind", True, {"create_host_path": False})
        assert volume["source"].rpartition("/")[2] in dotenv.FOLDERS


@pytest.mark.parametrize("name", OURS)
def test_only_mailers_know_how_to_send_mail(name: str) -> None:
    given = {variable for variable in OURS[name]["environment"] if variable.startswith("SMTP_")}
    relay = {field.upper() for field in SmtpSettings.model_fields} | {"SMTP_PASSWORD_FILE"}
    assert given == (relay if name in ("people-mailer", "notify-mailer") else set())


@pytest.mark.parametrize("name", OURS)
def test_an_operator_can_set_everything_that_a_process_reads(name: str) -> None:
    known = {field.upper() for kind in settings_of(name) for field in kind.model_fields} - FIXED
    known |= {f"{field.upper()}_FILE" for kind in settings_of(name) for field in secret_fields(kind)}
    if name == "operator":
        known |= DOCTORS
    given = OURS[name]["environment"]
    missing = known - given.keys()
    if owner(name) not in DATABASES:  # the settings that all share are read, but they have no such work
        missing -= {variable for variable in missing if re.match(r"DATABASE|RELAY|CONSUMER|OUTBOX|INBOX", variable)}
    assert missing <= (
        set() if name != "kafka-access" else {"OPERATOR_SIGNING_KEY", "OPERATOR_SIGNING_KEY_FILE", "PATIENCE_SECONDS"}
    )
    assert given.keys() - known - ADDRESSES == set()


@pytest.mark.parametrize("name", OURS)
def test_a_variable_is_passed_on_under_its_own_name(name: str) -> None:
    for variable, value in OURS[name]["environment"].items():
        account = f"{(BROKER if name == 'kafka-access' else owner(name)).upper()}_KAFKA_PASSWORD"
        wanted = account if variable == "KAFKA_PASSWORD" else variable
        if (name, variable) == ("kafka-access", "KAFKA_PASSWORD_FILE"):
            assert value == ""  # its password is a variable, because the image of Kafka has it from one
            continue
        assert value is None or variable in ADDRESSES | {"KAFKA_USERNAME"} or value.startswith(f"${{{wanted}"), variable


@pytest.mark.parametrize("name", OURS)
def test_a_secret_may_be_empty_beside_its_file(name: str) -> None:
    """A default in place of what is empty would be a secret given both ways, which is refused."""
    given = OURS[name]["environment"]
    for variable in given.keys() & {file.removesuffix("_FILE") for file in given if file.endswith("_FILE")}:
        if given[variable] is not None and name != "kafka-access" and variable != "SMTP_PASSWORD":
            assert re.match(r"\$\{\w+(\?|-)", given[variable]), variable
            assert f"{variable}:-" not in given[variable]


def settings_of(name: str) -> list[type[BaseSettings]]:
    service = "operator" if name in COMMANDS else owner(name)
    kind = getattr(import_module(f"services.{service}.settings"), f"{service.capitalize()}Settings")
    return [kind, SmtpSettings] if name.endswith("-mailer") else [kind]


@pytest.mark.parametrize("name", OURS)
def test_a_process_has_few_rights_and_time_to_drain(name: str) -> None:
    found = OURS[name]
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["stop_grace_period"] == "20s"


@pytest.mark.parametrize("name", [name for name in OURS if owner(name) in DATABASES])
def test_migrations_run_first_and_wait_for_servers_only(name: str) -> None:
    needs = OURS[name]["depends_on"]
    if name.endswith("-migrate"):
        assert needs == {"postgres": {"condition": "service_healthy"}}
        assert OURS[name]["restart"] == "no"
    else:
        assert needs[f"{owner(name)}-migrate"] == {"condition": "service_completed_successfully"}


def test_services_find_each_other_at_their_names_and_ports() -> None:
    for service, port in {"posts": 8101, "comments": 8102, "people": 8103, "notify": 8104}.items():
        assert OURS["gateway"]["environment"][f"{service.upper()}_URL"] == f"http://{service}-api:{port}"
        assert f"{service}-api" in OURS


def test_the_gateway_can_be_told_of_its_proxies_and_every_process_how_much_to_log() -> None:
    assert {"TRUSTED_PROXIES", "ACCESS_LOG"} <= OURS["gateway"]["environment"].keys()
    assert all("LOG_LEVEL" in found["environment"] for found in OURS.values())


def test_only_the_proxy_is_published_and_any_number_of_gateways_can_run() -> None:
    published = {name: found["ports"] for name, found in SERVICES.items() if "ports" in found}
    assert published.keys() == {"proxy", "mailbox"}
    assert all(port.startswith("127.0.0.1:") for port in published["mailbox"])
    assert not any({"container_name", "hostname"} & found.keys() for found in SERVICES.values())
    assert not any("INSTANCE" in found["environment"] for found in OURS.values())  # the host name of each container


def test_the_gateways_believe_the_proxy_alone() -> None:
    on_front = {name for name, found in SERVICES.items() if "front" in found.get("networks", ())}
    assert on_front == {"proxy", "gateway"}
    (subnet,) = COMPOSE["networks"]["front"]["ipam"]["config"]
    assert OURS["gateway"]["environment"]["TRUSTED_PROXIES"] == f"${{TRUSTED_PROXIES:-{subnet['subnet']}}}"
    config = (ROOT / "deploy/proxies/compose.cfg").read_text()
    assert "server-template gateway 1-10 gateway:8000" in config
    assert "set-header X-Forwarded-For %[src]" in config
    assert SERVICES["proxy"]["environment"]["PUBLIC_URL"] == OURS["gateway"]["environment"]["PUBLIC_URL"]


@pytest.mark.parametrize("name", SERVICES)
def test_everything_has_limits_and_logs_that_end(name: str) -> None:
    limits = SERVICES[name]["deploy"]["resources"]["limits"]
    assert limits.keys() == {"cpus", "memory"}
    assert all(re.match(r"\$\{[A-Z]+_(CPUS|MEMORY):-\d+[mg]?\}$", limit) for limit in limits.values())
    assert limits["cpus"].endswith(":-1}")  # more than a small machine has is refused
    logging = SERVICES[name]["logging"]
    assert logging == {"driver": "json-file", "options": {"max-size": "16m", "max-file": "4"}}


def test_health_checks_start_no_python_and_no_jvm() -> None:
    checks = {
        name: found["healthcheck"]["test"] for name, found in SERVICES.items() if "test" in found.get("healthcheck", {})
    }
    assert checks.keys() == {"proxy", "postgres", "valkey", "kafka"}
    checks["image"] = re.findall(
        r'"([^"]+)"', (ROOT / "deploy/Dockerfile").read_text().partition("HEALTHCHECK")[2].partition("\nENTRY")[0]
    )
    for test in checks.values():
        assert not re.search(r"python|java|kafka-broker-api", " ".join(test))
    assert checks["kafka"][-1] == SERVICES["kafka"]["volumes"][-1].split(":")[1]


def test_servers_are_healthy_before_they_are_used_and_keep_their_data() -> None:
    assert all("healthcheck" in SERVICES[name] for name in ("postgres", "kafka", "valkey"))
    assert "postgres:/var/lib/postgresql" in SERVICES["postgres"]["volumes"]
    assert COMPOSE["volumes"].keys() == {"postgres", "kafka"}


def test_required_variables_are_generated_by_make_env() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    required = set(re.findall(r"\$\{([A-Z_]+):?\?", text))
    assert required == SECRETS | {"VERIFICATION_KEYS"} | set(dotenv.PASSWORDS)


def test_make_env_adds_what_is_missing_and_changes_nothing() -> None:
    first = dotenv.complete("")
    names = {line.partition("=")[0] for line in first.splitlines()}
    assert names == SECRETS | {"VERIFICATION_KEYS"} | set(dotenv.PASSWORDS)
    assert dotenv.complete(first) == first
    older = "".join(line for line in first.splitlines(True) if "KAFKA" not in line) + "PUBLIC_URL=https://blog.example"
    newer = dotenv.complete(older)
    assert newer.startswith(older + "\n")
    assert names <= {line.partition("=")[0] for line in newer.splitlines()}
    assert newer.count("SIGNING_KEY") == older.count("SIGNING_KEY")  # a key of another set would match nothing


def test_make_env_makes_folders_and_a_certificate_once(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PUBLIC_URL='https://bücher.example:8443'\n")
    dotenv.main(tmp_path / ".env")
    files = tmp_path / "files"
    assert files.stat().st_mode & 0o777 == 0o700  # nobody else on this machine reads what all containers can
    modes = {folder.name: folder.stat().st_mode & 0o777 for folder in files.iterdir()}
    assert modes == dict.fromkeys(dotenv.FOLDERS, 0o755) | {dotenv.BACKUPS: 0o777}
    certificate = files / "proxy/chain-and-key.pem"
    made = certificate.read_bytes()
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate)
    names = x509.load_pem_x509_certificate(made).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["xn--bcher-kva.example", "rapport.localhost", "localhost"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    certificate.write_bytes(trial_certificate.make(["blog.example"]))  # the operator's own
    kept = certificate.read_bytes()
    dotenv.main(tmp_path / ".env")
    assert certificate.read_bytes() == kept != made


def test_the_backup_reaches_every_database_with_its_services_accounts_and_nothing_else() -> None:
    given = BACKUP["environment"]
    for service in DATABASES:
        own, process = f"{service.upper()}_", OURS[f"{service}-migrate"]["environment"]
        for name in ("URL", "URL_FILE", "DIRECT_URL", "DIRECT_URL_FILE"):
            assert given[f"{own}DATABASE_{name}"] == process[f"{own}DATABASE_{name}"]
        assert given[f"{own}KAFKA_USERNAME"] == process["KAFKA_USERNAME"]
        assert given[f"{own}KAFKA_PASSWORD"] == process["KAFKA_PASSWORD"]
    assert not (SECRETS | {*OTHER_SECRETS.values()}) & given.keys()
    assert not {name for name in given if name.startswith(("SMTP_", "REDIS_")) or name == "KAFKA_PASSWORD"}
    assert BACKUP["profiles"] == ["backup"]
    assert (BACKUP["restart"], BACKUP["read_only"], BACKUP["cap_drop"]) == ("no", True, ["ALL"])
    assert BACKUP["entrypoint"] == ["rapport"]
    secrets, backups = BACKUP["volumes"]
    assert (secrets["target"], secrets["read_only"]) == ("/run/rapport", True)
    assert (backups["target"], backups["read_only"]) == ("/backups", False)
    assert backups["source"] == f"${{BACKUPS_FOLDER:-./files/{dotenv.BACKUPS}}}"


def test_accounts_have_one_name_and_password_each() -> None:
    kafka = SERVICES["kafka"]["environment"]
    for listener in ("CLIENTS", "CONTROLLER"):
        login = kafka[f"KAFKA_LISTENER_NAME_{listener}_PLAIN_SASL_JAAS_CONFIG"]
        assert dict(re.findall(r'user_(\w+)="\$\{(\w+):[?-]', login)) == {
            name: f"{name.upper()}_KAFKA_PASSWORD" for name in (BROKER, *ACCOUNTS)
        }
    for name, found in OURS.items():
        account = BROKER if name == "kafka-access" else owner(name)
        assert found["environment"]["KAFKA_USERNAME"] == f"${{{account.upper()}_KAFKA_USERNAME-{account}}}"
    assert kafka["KAFKA_SUPER_USERS"] == f"User:{BROKER}"
    assert SERVICES["posts-relay"]["depends_on"]["kafka-access"] == {"condition": "service_completed_successfully"}


def test_the_image_runs_as_an_unprivileged_user_with_a_health_check() -> None:
    text = (ROOT / "deploy/Dockerfile").read_text()
    assert re.search(r"^USER \d+:\d+$", text, re.MULTILINE)
    assert "HEALTHCHECK" in text
    assert "--locked" in text
    assert "--extra" not in text  # the image contains no local servers


def test_the_scripts_are_valid_shell() -> None:
    in_bash = (".ci/run", "deploy/health/ready.sh", "deploy/health/kafka.sh")
    for script in ("deploy/postgres-init.sh", "deploy/local/install.sh", *in_bash):
        shell = "bash" if script in in_bash else "sh"
        subprocess.run([shell, "-n", ROOT / script], check=True)
