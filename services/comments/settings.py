"""Settings of comments beyond the chassis."""

from functools import cached_property

from pydantic import Field

from services.chassis.runtime.setting_types import DatabaseUrl, DirectUrl, Port
from services.chassis.runtime.settings import Settings


class CommentsSettings(Settings):
    """The settings of comments.

    Attributes:
        comment_edit_window_seconds: how long after posting a comment its author may edit it.
        comment_picture_hosts: separated by commas; only their pictures are shown in comments, those of others are
            links, because whoever serves a picture learns every reader's address.
    """

    comments_database_url: DatabaseUrl = Field(repr=False)
    comments_database_direct_url: DirectUrl = Field(default="", repr=False)
    comments_port: Port = 8102
    comments_metrics_port: Port = 9102
    comment_edit_window_seconds: int = Field(default=900, ge=0, le=3_000_000_000)
    comment_picture_hosts: str = ""

    @cached_property
    def picture_hosts(self) -> frozenset[str]:
        """The hosts whose pictures comments may show, in lower case."""
        return frozenset(host.strip().lower() for host in self.comment_picture_hosts.split(",") if host.strip())
