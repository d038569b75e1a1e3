"""Settings of posts beyond those of the chassis."""

from pydantic import Field

from services.chassis.runtime.setting_types import DatabaseUrl, DirectUrl, Port
from services.chassis.runtime.settings import Settings


class PostsSettings(Settings):
    posts_database_url: DatabaseUrl = Field(repr=False)
    posts_database_direct_url: DirectUrl = Field(default="", repr=False)
    posts_port: Port = 8101
    posts_metrics_port: Port = 9101
