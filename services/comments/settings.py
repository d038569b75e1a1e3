"""Settings of comments beyond the chassis."""

from pydantic import Field

from services.chassis.runtime.settings import Settings


class CommentsSettings(Settings):
    """`comment_edit_window_seconds`: how long after posting a comment its author may edit it."""

    comments_database_url: str = Field(repr=False)
    comments_port: int = 8102
    comments_metrics_port: int = 9102
    comment_edit_window_seconds: int = Field(default=900, ge=0)
