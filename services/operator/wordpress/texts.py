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

    def of_post(self, item: Record, field: str, places: Places = NOWHERE) -> str:
        """Return a text of an item.

        Args:
            field: `content:encoded` or `excerpt:encoded`.
            places: where the posts that it links to are now; what is left out is counted without them, so once.
        """
        found = self._found
        replace = Replacements(found.attachments, found.uploads, item.get("wp:post_id"))
        left_out = self.left_out if places is NOWHERE else Counter[str]()
        html = without_shortcodes(with_code_escaped(item.get(field)), replace, self._shortcodes, left_out)
        return with_new_links(html, self._base(item), places)

    def of_comment(self, comment: Record, item: Record, places: Places) -> str:
        """Return the text of a comment, in which WordPress knows no shortcodes but code."""
        return with_new_links(with_code_escaped(comment.get("wp:comment_content")), self._base(item), places)

    def _base(self, item: Record) -> str:
        """Return the address that relative links of an item mean."""
        link = item.get("link")
        return link if "://" in link else self._found.blog
