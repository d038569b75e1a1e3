"""Look at the settings that can work and should not."""

from urllib.parse import parse_qs, urlsplit

from services.chassis.identity import Signer, Verifier
from services.chassis.runtime.hosts import is_loopback
from services.chassis.runtime.setting_types import split_host
from services.operator.doctor.examination import Surroundings
from services.operator.doctor.findings import Finding, fault, ok, warning
from services.operator.doctor.settings import DoctorSettings

AUDIENCE = "posts"  # any service
DATABASES = ("posts", "comments", "people", "notify")


async def check_settings(around: Surroundings) -> list[Finding]:
    """Check the settings of this command, which are those of the services if it runs in their environment."""
    settings = around.settings
    found = [*_public_url(settings), *_key(settings), *_broker(settings)]
    found += [*_valkey(settings), *_databases(settings), *_mail_server(settings)]
    if not any(finding.level != "ok" for finding in found):
        found.insert(0, ok("settings", f"they go together, for {settings.environment}"))
    return found


def _public_url(settings: DoctorSettings) -> list[Finding]:
    local = is_loopback(_host(settings.public_url.partition("://")[2]))
    if settings.environment == "production" and not settings.public_url.startswith("https://"):
        return [
            fault(
                "PUBLIC_URL",
                f"{settings.public_url} is not https, in production: services refuse to start with it",
                "Set PUBLIC_URL to the https address that people type, with a proxy in front that has a certificate.",
            )
        ]
    if settings.environment == "development" and not local:
        return [
            warning(
                "ENVIRONMENT",
                f"it is development, and PUBLIC_URL {settings.public_url} is not this machine",
                "Set ENVIRONMENT=production where people on the internet read.",
            )
        ]
    return []


def _key(settings: DoctorSettings) -> list[Finding]:
    name, key = "OPERATOR_SIGNING_KEY", settings.operator_signing_key
    mend = "Set it to the operator's private key; `rapport keys` prints a set for a new installation."
    if not key:
        return [fault(name, "it is not set, so no service answers", mend)]
    try:
        token = Signer(key, "operator").token(AUDIENCE)
    except (ValueError, TypeError, KeyError):
        return [fault(name, "it is not a private key", mend)]
    if not settings.is_set("verification_keys"):
        return []
    try:
        Verifier(settings.verification_keys, AUDIENCE).verify(token)
    except Exception:
        return [
            fault(
                name,
                "its public half is not in VERIFICATION_KEYS, as they are set here",
                "Take both from one set of `rapport keys`, and give every service the same VERIFICATION_KEYS.",
            )
        ]
    return []


def _broker(settings: DoctorSettings) -> list[Finding]:
    hosts = [_host(server) for server in settings.kafka_bootstrap_servers.split(",")]
    protocol = settings.kafka_security_protocol
    if settings.environment == "development" or all(map(is_loopback, hosts)):
        return []
    if not protocol.startswith("SASL"):
        return [
            warning(
                "KAFKA_SECURITY_PROTOCOL",
                f"it is {protocol}: whoever reaches the broker may write events that are believed",
                "Set SASL_SSL with an account for each service, then `rapport kafka-access`.",
            )
        ]
    if protocol == "SASL_PLAINTEXT":
        return [
            warning(
                "KAFKA_SECURITY_PROTOCOL",
                "it is SASL_PLAINTEXT: who listens on the way to the broker reads events and passwords",
                "Set SASL_SSL, and KAFKA_CA_FILE if the broker's certificate is from an authority of your own.",
            )
        ]
    return []


def _valkey(settings: DoctorSettings) -> list[Finding]:
    if settings.environment == "development" or not settings.is_set("redis_url"):
        return []
    address = urlsplit(settings.redis_url)
    if address.scheme.lower() != "redis" or is_loopback(address.hostname or ""):
        return []
    return [
        warning(
            "REDIS_URL",
            "it has no TLS: who listens on the way to Valkey reads its password",
            "Begin it with rediss://, and set REDIS_CA_FILE if the certificate is from an authority of your own.",
        )
    ]


def _databases(settings: DoctorSettings) -> list[Finding]:
    if settings.environment == "development":
        return []
    return [
        warning(
            variable.upper(),
            "it allows connections without TLS: who listens on the way to PostgreSQL may read everything",
            "Add ?sslmode=verify-full, and sslrootcert=FILE if the certificate is from an authority of your own.",
        )
        for name in DATABASES
        for variable in (f"{name}_database_url", f"{name}_database_direct_url")
        if settings.is_set(variable) and _can_be_read_on_the_way(getattr(settings, variable))
    ]


def _can_be_read_on_the_way(database_url: str) -> bool:
    """Return whether a database elsewhere may be spoken to without TLS; `prefer`, the default, does so if asked to."""
    address = urlsplit(database_url)
    hosts = [host for host in address.netloc.rpartition("@")[2].split(",") if host]
    mode = parse_qs(address.query).get("sslmode", ["prefer"])[-1]
    elsewhere = not all(is_loopback(_host(host)) for host in hosts)  # without any it is a socket
    return elsewhere and mode not in ("require", "verify-ca", "verify-full")


def _mail_server(settings: DoctorSettings) -> list[Finding]:
    if settings.smtp_security != "none" or settings.environment == "development" or not settings.is_set("smtp_host"):
        return []
    if is_loopback(settings.smtp_host):
        return []
    return [
        warning(
            "SMTP_SECURITY",
            f"it is none: mails to {settings.smtp_host}, with links that sign in, can be read on the way",
            "Set SMTP_SECURITY=starttls, or tls where the mail server listens on port 465.",
        )
    ]


def _host(authority: str) -> str:
    return split_host(authority)[0].strip("[]")
