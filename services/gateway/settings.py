"""Settings that the gateway reads from the environment."""

from functools import cached_property, partial
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.chassis.http.client_networks import Networks
from services.chassis.http.origins import Origin
from services.chassis.identity import private_key
from services.chassis.runtime.setting_types import AuthoritiesFile, NetworkList, Pause, Port, RedisUrl, Seconds, key_of
from services.chassis.runtime.settings import Settings
from services.contracts.services import ServiceAddresses
from services.gateway.site import SiteSettings


class GatewaySettings(Settings, ServiceAddresses, SiteSettings):
    """The gateway's own settings.

    Attributes:
        redis_ca_file: the certificates of the authorities that are trusted for `rediss://`, instead of the system's.
        rate_limits: `off` for load tests.
        access_log: whether each request is a line in the log.
        read_deadline_seconds: how long a read may take with all its calls.
        write_deadline_seconds: the same for everything that changes something.
        trusted_proxies: addresses or networks, comma-separated, whose `X-Forwarded-For` is believed.
        page_patience_seconds: how long a page waits for comments to hear of a post that was just published.
    """

    gateway_port: Port = 8000
    gateway_metrics_port: Port = 9100
    gateway_signing_key: Annotated[str, key_of(partial(private_key, issuer="gateway"))] = Field(
        min_length=1, repr=False
    )
    redis_url: RedisUrl = Field(default="redis://127.0.0.1:6379/0", repr=False)
    redis_ca_file: AuthoritiesFile = ""
    rate_limits: Literal["on", "off"] = "on"
    access_log: Literal["on", "off"] = "off"
    read_deadline_seconds: Seconds = 2.0
    write_deadline_seconds: Seconds = 5.0
    page_patience_seconds: Pause = 0.5
    changes_poll_seconds: Seconds = 15.0
    trusted_proxies: NetworkList = ""

    @model_validator(mode="after")
    def _links_are_safe(self) -> Self:
        return self.with_safe_links()

    @model_validator(mode="after")
    def _authorities_are_asked(self) -> Self:
        if self.redis_ca_file and not self.redis_url.startswith("rediss://"):
            raise ValueError("REDIS_CA_FILE is set, but REDIS_URL has no TLS: it must begin with rediss://")
        return self

    @model_validator(mode="after")
    def _browsers_know_the_host(self) -> Self:
        try:
            Origin.parse(self.public_url)
        except ValueError:
            raise ValueError("PUBLIC_URL names a host that no browser can open") from None
        return self

    @cached_property
    def proxies(self) -> Networks:
        """The networks of `trusted_proxies`."""
        return Networks(filter(None, self.trusted_proxies.replace(" ", "").split(",")))

    @property
    def origin(self) -> str:
        """Scheme, host and port of `public_url`, as browsers write them in `Origin`."""
        return str(Origin.parse(self.public_url))

    @property
    def secure(self) -> bool:
        """Whether browsers reach the gateway by https."""
        return self.origin.startswith("https:")

    @property
    def cookie_name(self) -> str:
        """`__Host-` binds the cookie to this host and to https (RFC 6265bis, section 4.1.3.2)."""
        return "__Host-rapport" if self.secure else "rapport"
