"""SQL of discussions and comments."""

from services.comments.store.discussions import (
    find_discussion,
    find_discussions,
    lock_discussion,
    lock_discussions,
    lock_free_discussions,
    upsert_discussion,
    visible_by_post,
)
from services.comments.store.reading import (
    COLUMNS,
    SELECT_COMMENTS,
    SELECT_COUNTS_OF_PEOPLE,
    SELECT_OWN_HIDDEN,
    above,
    find,
    find_by_source,
    find_many,
    lock,
    own_hidden,
    visible_by_person,
)
from services.comments.store.writing import blank, insert, insert_all, update_above, update_state, update_text

__all__ = [
    "COLUMNS",
    "SELECT_COMMENTS",
    "SELECT_COUNTS_OF_PEOPLE",
    "SELECT_OWN_HIDDEN",
    "above",
    "blank",
    "find",
    "find_by_source",
    "find_discussion",
    "find_discussions",
    "find_many",
    "insert",
    "insert_all",
    "lock",
    "lock_discussion",
    "lock_discussions",
    "lock_free_discussions",
    "own_hidden",
    "update_above",
    "update_state",
    "update_text",
    "upsert_discussion",
    "visible_by_person",
    "visible_by_post",
]
