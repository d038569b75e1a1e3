"""Code in square brackets, as the plug-ins for it write it: `[code lang=php]…[/code]`."""

import re

from services.chassis.text.stored_code import CodeEscaper

LANGUAGES = (
    *("actionscript", "actionscript3", "as3", "applescript", "awk", "bash", "c", "clojure", "coldfusion"),
    *("cpp", "csharp", "css", "delphi", "diff", "erlang", "fsharp", "go", "groovy", "haskell", "html"),
    *("java", "javafx", "javascript", "jscript", "js", "latex", "lua", "matlab", "objc", "pascal", "patch"),
    *("perl", "php", "pl", "plain", "powershell", "ps", "py", "python", "r", "rails", "rb", "ruby", "rust"),
    *("scala", "shell", "sql", "swift", "text", "vb", "vbnet", "xhtml", "xml", "xslt", "yaml"),
)
BRACKETS = re.compile(
    r"\[(code|sourcecode|source|snippet|crayon|pre|tt|cc[a-z]{0,3}(?:_[a-z0-9#+-]+)?|"
    rf"{'|'.join(LANGUAGES)})(?=[\s=\]])[^\[\]]*+\]",
    re.IGNORECASE,
)
INLINE = frozenset(("cci", "tt"))


def with_code_escaped(html: str) -> str:
    """Return HTML whose code, in tags or in brackets, is escaped: nothing in it is taken for markup any more."""
    return CodeEscaper(html, BRACKETS, INLINE).escaped() if "<" in html or "[" in html else html
