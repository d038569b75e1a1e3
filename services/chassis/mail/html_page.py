"""The page that every HTML part is: one look, light and dark, on every width, with the styles where clients need them.

Clients differ in what they read: some only `style` attributes, some media queries in the head too. The colours are
those of the site's pages, in sRGB, which all of them know.
"""

from string import Template

import css_inline

from services.contracts.colours import HUE, srgb

PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>$title</title>
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
  body { background: $dark_paper !important; color: $dark_ink !important; }
  a { color: $dark_accent !important; }
  .button { background: $dark_accent !important; color: $dark_paper !important; }
  .site, .said, .waits, .foot { border-color: $dark_line !important; }
  .quiet, .foot, .foot a { color: $dark_quiet !important; }
}
</style>
<style>
body {
  margin: 0; padding: 20px 16px; background: $paper; color: $ink;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", Helvetica, Arial, sans-serif;
  overflow-wrap: anywhere; word-break: break-word;
}
a { color: $accent; }
.mail { max-width: 600px; margin: 0 auto; }
p { margin: 0 0 16px; }
.site { margin: 0 0 24px; padding: 0 0 12px; border-bottom: 1px solid $line; font-weight: bold; line-height: 32px; }
.mark, .face {
  display: inline-block; width: 32px; margin-right: 10px; text-align: center; line-height: 32px; font-weight: bold;
}
.mark { border-radius: 6px; background: $accent; color: #ffffff; font-family: Georgia, serif; font-size: 20px; }
.face { border-radius: 16px; color: #1d1d1f; font-size: 14px; vertical-align: middle; }
.who { margin: 0 0 12px; border: 0; border-collapse: collapse; }
.who td { padding: 0; border: 0; vertical-align: top; }
.who .deed { padding-top: 4px; }
.said {
  margin: 0 0 24px; padding: 0 0 0 16px; border-left: 3px solid $line;
  font: 17px/1.55 Georgia, "Iowan Old Style", "Noto Serif", serif;
}
.waits { padding: 0 0 0 16px; border-left: 3px solid $line; }
.quiet { color: $quiet; }
.button {
  display: inline-block; padding: 10px 18px; border-radius: 6px; background: $accent; color: #ffffff;
  font-weight: bold; text-decoration: none;
}
.digits { font-size: 24px; font-weight: bold; }
.foot { margin: 32px 0 0; padding: 12px 0 0; border-top: 1px solid $line; color: $quiet; font-size: 13px; }
.foot a { color: $quiet; }
</style>
</head>
<body>
<div class="mail">
<p class="site"><span class="mark" aria-hidden="true">$mark</span><bdi>$site</bdi></p>
$body</div>
</body>
</html>
""")
COLOURS = {  # those of rapport.css: lightness, chroma, hue
    "paper": (0.985, 0.007, 85),
    "ink": (0.24, 0.012, 75),
    "quiet": (0.44, 0.015, 75),
    "line": (0.88, 0.012, 75),
    "dark_paper": (0.20, 0.008, 75),
    "dark_ink": (0.93, 0.008, 75),
    "dark_quiet": (0.76, 0.012, 75),
    "dark_line": (0.35, 0.01, 75),
}
ACCENTS = {"accent": (0.42, 0.12), "dark_accent": (0.82, 0.09)}


def template(title: str, body: str, *, site: str, mark: str, hue: int = HUE) -> str:
    """Return the page with this title and body; its styles stand at the elements too.

    Args:
        title, body, site, mark: HTML, in which placeholders may stand; the mark is the site's letter.
        hue: of the accent, in degrees of OKLCH.
    """
    colours = {name: srgb(*colour) for name, colour in COLOURS.items()}
    colours |= {name: srgb(lightness, chroma, hue) for name, (lightness, chroma) in ACCENTS.items()}
    page = PAGE.substitute(colours, title=title, body=body, site=site, mark=mark)
    return str(css_inline.CSSInliner(load_remote_stylesheets=False).inline(page))
