"""What may be done to comments: one function, one transaction, one event."""

from services.comments.commands.answers import Done
from services.comments.commands.editing import edit_comment
from services.comments.commands.grouping import Group
from services.comments.commands.importing import import_comment, republish
from services.comments.commands.moderating import moderate_comment, remove_comment
from services.comments.commands.posting import post_comment

__all__ = [
    "Done",
    "Group",
    "edit_comment",
    "import_comment",
    "moderate_comment",
    "post_comment",
    "remove_comment",
    "republish",
]
