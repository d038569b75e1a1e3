"""Settings that the gateway reads from the environment."""

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field

from services.chassis.runtime.settings import Settings
from services.contracts.services import ServiceAddresses


class GatewaySettings(Settings, ServiceAddresses):
    """The gateway's own settings.

    Attributes:
        rate_limits: `off` for load tests.
        read_deadline_seconds: how long a read may take with all its calls.
        write_deadline_seconds: the same for everything that changes something.
        trusted_proxies: addresses or networks, comma-separated, whose `X-Forwarded-For` is believed.
        page_patience_seconds: how long a page waits for comments to hear of a post that was just published.
    """

    gateway_port: int = 8000
    gateway_metrics_port: int = 9100
    gateway_signing_key: str = Field(repr=False)
    redis_url: str = "redis://127.0.0.1:6379/0"
    rate_limits: Literal["on", "off"] = "on"
    read_deadline_seconds: float = 2.0
    write_deadline_seconds: float = 5.0
    page_patience_seconds: float = 0.5
    changes_poll_seconds: float = 15.0
    trusted_proxies: str = ""

    @property
    def origin(self) -> str:
        """Scheme, host and port of `public_url`, as browsers write them in `Origin`."""
        parts = urlsplit(self.public_url)
        default = {"http": 80, "https": 443}.get(parts.scheme)
        port = "" if parts.port in (None, default) else f":{parts.port}"
        return f"{parts.scheme}://{parts.hostname}{port}"

    @property
    def secure(self) -> bool:
        """Whether browsers reach the gateway by https."""
        return self.public_url.startswith("https:")

    @property
    def cookie_name(self) -> str:
        """`__Host-` binds the cookie to this host and to https (RFC 6265bis, section 4.1.3.2)."""
        return "__Host-rapport" if self.secure else "rapport"
