"""Commands of comments: one function, one transaction, one event."""

from services.comments.commands.editing import edit_comment
from services.comments.commands.importing import import_comment
from services.comments.commands.moderating import moderate_comment, remove_comment
from services.comments.commands.posting import PostingQueue, post_comment

__all__ = [
    "PostingQueue",
    "edit_comment",
    "import_comment",
    "moderate_comment",
    "post_comment",
    "remove_comment",
]
