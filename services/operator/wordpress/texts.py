"""Turn texts as WordPress stores them into HTML without anything that only WordPress understands."""

from collections import Counter

from services.operator.wordpress.code import with_code_escaped
from services.operator.wordpress.links import Places, with_new_links
from services.operator.wordpress.players import OWN, Replacements
from services.operator.wordpress.reader import Record
from services.operator.wordpress.shortcodes import without_shortcodes
from services.operator.wordpress.survey import Survey

NOWHERE = Places()


class Texts:
    """The texts of one export.

    Attributes:
        left_out: how often each shortcode without a replacement was left out.
    """

    def __init__(self, found: Survey) -> None:
        self.left_out: Counter[str] = Counter()
        self._found = found
        self._shortcodes = OWN | found.shortcodes

    def of_post(self, item: Record, field: str) -> str:
        """Return a text of an item, and count what was left out of it.

        Args:
            field: `content:encoded` or `excerpt:encoded`.
        """
        return with_new_links(self._without_shortcodes(item, field, self.left_out), self._base(item), NOWHERE)

    def with_links(self, item: Record, places: Places) -> str | None:
        """Return the text of an item with links to where the posts of the blog are now; None if it has no such link."""
        html, base = self._without_shortcodes(item, "content:encoded", Counter()), self._base(item)
        linked = with_new_links(html, base, places)
        return linked if linked != with_new_links(html, base, NOWHERE) else None

    def of_comment(self, comment: Record, item: Record, places: Places) -> str:
        """Return the text of a comment, in which WordPress knows no shortcodes but code."""
        return with_new_links(with_code_escaped(comment.get("wp:comment_content")), self._base(item), places)

    def _without_shortcodes(self, item: Record, field: str, left_out: Counter[str]) -> str:
        found = self._found
        replace = Replacements(found.attachments, found.uploads, item.get("wp:post_id"))
        return without_shortcodes(with_code_escaped(item.get(field)), replace, self._shortcodes, left_out)

    def _base(self, item: Record) -> str:
        """Return the address that relative links of an item mean."""
        link = item.get("link")
        return link if "://" in link else self._found.blog
