"""Settings that the doctor reads beyond those of the operator: what else it looks at, if it is told where that is."""

from urllib.parse import urlsplit

from pydantic import Field, field_validator

from services.chassis.mail.sender import MailFrom
from services.chassis.mail.smtp import SmtpSettings
from services.chassis.runtime.setting_types import AuthoritiesFile, DirectUrl, Port, RedisUrl, check_service_url
from services.operator.settings import OperatorSettings


class DoctorSettings(OperatorSettings, SmtpSettings):
    """Settings of the doctor. Valkey, mail server and sender are looked at only where they are set.

    Attributes:
        metrics_urls: the metrics port of every process, separated by commas; without it, those of one process for each
            service, on the hosts of the services' addresses.
    """

    redis_url: RedisUrl = Field(default="redis://127.0.0.1:6379/0", repr=False)
    redis_ca_file: AuthoritiesFile = ""
    posts_database_url: DirectUrl = Field(default="", repr=False)
    posts_database_direct_url: DirectUrl = Field(default="", repr=False)
    comments_database_url: DirectUrl = Field(default="", repr=False)
    comments_database_direct_url: DirectUrl = Field(default="", repr=False)
    people_database_url: DirectUrl = Field(default="", repr=False)
    people_database_direct_url: DirectUrl = Field(default="", repr=False)
    notify_database_url: DirectUrl = Field(default="", repr=False)
    notify_database_direct_url: DirectUrl = Field(default="", repr=False)
    mail_from: MailFrom = "Rapport <notifications@localhost>"
    metrics_urls: str = ""
    gateway_metrics_port: Port = 9100
    posts_metrics_port: Port = 9101
    comments_metrics_port: Port = 9102
    people_metrics_port: Port = 9103
    notify_metrics_port: Port = 9104

    @field_validator("metrics_urls")
    @classmethod
    def _are_addresses(cls, value: str) -> str:
        return ",".join(check_service_url(one.strip()).rstrip("/") for one in value.split(",") if one.strip())

    def is_set(self, name: str) -> bool:
        """Return whether somebody has set it to something."""
        return name in self.model_fields_set and bool(getattr(self, name))

    @property
    def metrics_addresses(self) -> list[str]:
        """Return the address of every process's metrics port."""
        if self.metrics_urls:
            return self.metrics_urls.split(",")
        hosts = {name: self.posts_url if name == "gateway" else getattr(self, f"{name}_url") for name in PORTS}
        return [f"http://{_host(hosts[name])}:{getattr(self, f'{name}_metrics_port')}" for name in PORTS]


PORTS = ("gateway", "posts", "comments", "people", "notify")


def _host(address: str) -> str:
    host = urlsplit(address).hostname or "127.0.0.1"
    return f"[{host}]" if ":" in host else host
