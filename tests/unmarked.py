"""Find what pages say without being marked for translation: in templates, the modules that fill them, and scripts."""

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser

from jinja2 import nodes

from services.gateway.pages.render import ENVIRONMENT

MARKS = {"_", "N_", "gettext", "ngettext", "pgettext", "npgettext"}
SAID_BY_ATTRIBUTES = {"aria-label", "aria-description", "aria-roledescription", "title", "alt", "placeholder", "label"}
WORD = re.compile(r"[^\W\d_]{2,}")
WORDS = re.compile(r"[^\W\d_]\S*\s+(?:\S+\s+)*?\S*[^\W\d_]")
TAG = re.compile(r"<[^>]*>")
# as macros write them: attributes and addresses
ATTRIBUTE = re.compile(r'[\w-]+="[^"]*"|\b(?:autofocus|required|checked|selected|readonly)\b|(?<!\S)/\S+')
CLASSES = re.compile(r"[a-z]+(?:-[a-z]+)*(?: [a-z]+(?:-[a-z]+)*)*\Z")
EXPRESSION = "\ue000"  # stands for what is not known before a page is made


def of_template(source: str) -> list[str]:
    """Return the texts of a template that people would see in one language whatever theirs is."""
    tree = ENVIRONMENT.parse(source)
    page = _Page()
    page.feed("".join(_outputs(tree)))
    page.close()
    return page.said + list(_constants(tree))


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self._data = False  # inside what is not shown

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._data = tag in ("script", "style")
        is_button = tag == "input" and ("type", "submit") in attrs
        for name, value in attrs:
            is_for_scripts = name.startswith("data-") and value and (value[:1].isupper() or WORDS.search(value))
            if (name in SAID_BY_ATTRIBUTES or is_for_scripts or (is_button and name == "value")) and _is_text(value):
                self.said.append(f"{name}={value}")

    def handle_endtag(self, tag: str) -> None:
        self._data = False

    def handle_data(self, data: str) -> None:
        text = ATTRIBUTE.sub("", data)
        if not self._data and _is_text(text):
            self.said.append(text.strip())


def _is_text(value: str | None) -> bool:
    return value is not None and WORD.search(value) is not None


def _outputs(node: nodes.Node) -> Iterator[str]:
    """Yield what a template writes, in its order, with every branch of it."""
    if isinstance(node, nodes.Output):
        for part in node.nodes:
            yield part.data if isinstance(part, nodes.TemplateData) else EXPRESSION.join(["", *_results(part), ""])
        return
    for child in node.iter_child_nodes():
        yield from _outputs(child)


def _results(node: nodes.Node) -> Iterator[str]:
    """Yield the constants that an expression may have as its value."""
    if isinstance(node, nodes.Const):
        yield str(node.value)
    elif isinstance(node, nodes.CondExpr):
        yield from _results(node.expr1)
        if node.expr2 is not None:
            yield from _results(node.expr2)
    elif isinstance(node, nodes.Or | nodes.And | nodes.Concat | nodes.Add):
        for child in node.iter_child_nodes():
            yield from _results(child)
    elif isinstance(node, nodes.Filter) and node.node is not None and node.name in ("safe", "isolated", "format"):
        yield from _results(node.node)
    elif isinstance(node, nodes.Getitem | nodes.Getattr | nodes.Call) and not _is_marked(node):
        for pair in node.find_all(nodes.Pair):
            yield from _results(pair.value)


def _constants(node: nodes.Node) -> Iterator[str]:
    """Yield the constants that read like texts: they are shown elsewhere, by a macro or a loop."""
    if _is_marked(node) or isinstance(node, nodes.Compare | nodes.Include | nodes.FromImport | nodes.Extends):
        return
    if isinstance(node, nodes.Const) and isinstance(node.value, str) and _reads_like_text(node.value):
        yield node.value
    for child in node.iter_child_nodes():
        yield from _constants(child)


def _is_marked(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name in MARKS


def _reads_like_text(value: str) -> bool:
    bare = TAG.sub("", value).strip()
    if "-" in bare and CLASSES.match(bare):
        return False
    return '="' not in bare and (WORDS.search(bare) is not None or (bare[:1].isupper() and _is_text(bare)))


COMMENT = re.compile(r"/\*.*?\*/|(?<![:\w])//[^\n]*", re.DOTALL)
LITERAL = re.compile(r"\"([^\"\n]*)\"|'([^'\n]*)'|`([^`]*)`")
SAID_BY_SCRIPT = re.compile(r"[A-Z][a-z]+(?: \S+)+|[^\W\d_][^{}<>=#.\[\]]* [^{}<>=#\[\]]*[.…!?:]\Z")


def of_script(source: str) -> list[str]:
    """Return the texts that a script says itself; its page has them for it, in the language of the page."""
    literals = ("".join(found) for found in LITERAL.findall(COMMENT.sub("", source)))
    return [text for text in literals if SAID_BY_SCRIPT.match(text)]


NOT_SAID = {"ValueError", "KeyError", "TypeError", "CannotStart", "Literal", "Field", "compile"}
REFUSALS = {"Problem", "invalid", "unavailable", "FieldError"}


def of_module(source: str) -> list[str]:
    """Return the texts of a module that people would see in one language whatever theirs is."""
    return list(_texts(ast.parse(source)))


def _texts(node: ast.AST, refuses: bool = False) -> Iterator[str]:
    name = _called(node)
    if name in MARKS or name in NOT_SAID or name.startswith("log.") or isinstance(node, ast.Assert):
        return
    if isinstance(node, ast.JoinedStr):
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else EXPRESSION for part in node.values)
        if _is_sentence(text, refuses):
            yield text
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and _is_sentence(node.value, refuses):
        yield node.value
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)):  # a docstring
            yield from _texts(child, refuses or name in REFUSALS)


def _called(node: ast.AST) -> str:
    if not isinstance(node, ast.Call):
        return ""
    return (
        ast.unparse(node.func) if ast.unparse(node.func).startswith("log.") else ast.unparse(node.func).split(".")[-1]
    )


def _is_sentence(text: str, refuses: bool) -> bool:
    words = TAG.sub("", text).split()
    return WORDS.search(text) is not None and (
        refuses or (len(words) > 2 and text[:1].isupper() and not {";", "|"} & {*text})
    )
