"""The page that every HTML part is: one look, light and dark, on every width, with the styles where clients need them.

Clients differ in what they read: some only `style` attributes, some media queries in the head too.
"""

import css_inline

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>%TITLE%</title>
<style data-css-inline="keep">
:root { color-scheme: light dark; supported-color-schemes: light dark; }
blockquote[dir="rtl"] { padding: 0 12px 0 0 !important; border-left: 0 !important; border-right: 2px solid #a3a3aa; }
blockquote blockquote blockquote blockquote { padding: 0 !important; border: 0 !important; }
ul, ol { padding-inline: 36px 24px; list-style-position: outside; }
li ul, li ol { padding-inline: 24px 0; }
ol[start] { padding-inline-start: 0; list-style-position: inside; }
li ol[start] { padding-inline-start: 16px; }
ol[start] > li > p:first-child { display: inline; }
li li li li ul, li li li li ol { padding-inline-start: 12px; }
li li li li li li li li ul, li li li li li li li li ol { padding-inline-start: 0; list-style-position: inside; }
@media (prefers-color-scheme: dark) {
  body { background: #17171a !important; color: #e8e6e3 !important; }
  a { color: #8ab8e6 !important; }
  .foot, .foot a { color: #a3a09b !important; }
}
</style>
<style>
body {
  margin: 0; padding: 24px 16px; background: #ffffff; color: #1d1d1f; font: 16px/1.5 Georgia, "Times New Roman", serif;
  overflow-wrap: anywhere; word-break: break-word;
}
a { color: #1a5a96; }
.mail { max-width: 600px; margin: 0 auto; }
p { margin: 0 0 16px; }
.said { margin: 0 0 24px; padding: 0 0 0 16px; border-left: 3px solid #a3a3aa; }
.foot { padding: 16px 0 0; border-top: 1px solid #a3a3aa; color: #5f6368; font-size: 13px; }
.foot a { color: #5f6368; }
</style>
</head>
<body>
<div class="mail">
%BODY%</div>
</body>
</html>
"""


def template(title: str, body: str) -> str:
    """Return the page with this title and body, which may hold placeholders; its styles stand at the elements too."""
    inliner = css_inline.CSSInliner(load_remote_stylesheets=False)
    return str(inliner.inline(PAGE.replace("%TITLE%", title).replace("%BODY%", body)))
