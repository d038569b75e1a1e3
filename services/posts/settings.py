"""Settings of posts beyond those of the chassis."""

from pydantic import Field

from services.chassis.runtime.settings import Settings


class PostsSettings(Settings):
    posts_database_url: str = Field(repr=False)
    posts_port: int = 8101
    posts_metrics_port: int = 9101
