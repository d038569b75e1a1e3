"""The plain text of a comment says what its page says: words, marks, numbers, structure."""

import random
import time

import pytest

from services.chassis.text.columns import width, wrapped
from services.chassis.text.html_to_text import excerpt, plain
from services.chassis.text.renderer import to_html


def text_of(source: str, *, columns: int | None = 76, most: int | None = None, hosts: tuple[str, ...] = ()) -> str:
    html = to_html(source, "markdown", "comment", anchor="1", picture_hosts=hosts)
    return plain(html, columns=columns, most=most)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("~~not~~ good idea", "~~not~~ good idea"),
        ("~~[a](https://a.example/b) *c*~~", "~~a (https://a.example/b) c~~"),
        ("1986. What a season.", "1986. What a season."),
        ("3) a\n4) b", "3. a\n4. b"),
        ("9. a\n10. b\n    - c", "9. a\n10. b\n    - c"),
        ("- a\n  - b\n\n    c\n- d", "- a\n  - b\n\n    c\n\n- d"),
        ("- a\n\n1. b", "- a\n\n1. b"),
        ("-\n- a", "-\n- a"),
        ("- [x] done\n- [ ] to do", "- [x] done\n- [ ] to do"),
        ("- > a\n  > b\n- c", "- > a\n  > b\n- c"),
        ("> a\n>\n> b\n>> c", "> a\n>\n> b\n>\n> > c"),
        ("> a\n\nb", "> a\n\nb"),
        ("> a\n\n<!-- -->\n\n> b", "> a\n\n<!-- -->\n\n> b"),
        ("> - a\n>   b\n>\n> c", "> - a\n>   b\n>\n> c"),
        ("one\ntwo  \nthree\\\nfour", "one\ntwo\nthree\nfour"),
        ("# a\n### b\ntext", "# a\n\n### b\n\ntext"),
        ("## a", "# a"),
        ("a\n\n---\n\nb", "a\n\n---\n\nb"),
        ("```\nif x:\n\n    y  \n```", "    if x:\n\n        y"),
        ("- ```\n  a\n  b\n  ```", "-     a\n      b"),
        ("a[^n] b[^m]\n\n[^n]: one\n[^m]: two\n\n    more", "a[1] b[2]\n\n[1] one\n[2] two\n\n    more"),
        ("a[^n] b[^n]\n\n[^n]: one", "a[1] b[1]\n\n[1] one"),
        ("a &amp; b &lt; <b>", "a & b < <b>"),
    ],
)
def test_marks_and_structure_stay(source: str, text: str) -> None:
    assert text_of(source) == text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("[here](https://a.example/b)", "here (https://a.example/b)"),
        ("<https://a.example/b>", "https://a.example/b"),
        ("www.a.example", "www.a.example"),
        ("ann@a.example", "ann@a.example"),
        ("[write](mailto:ann@a.example)", "write (ann@a.example)"),
        ("[a.example/b/](https://a.example/b)", "a.example/b/"),
        ("[see a.example/b.](https://a.example/b)", "see a.example/b."),
        ("[https://bank.example](https://evil.example)", "https://bank.example (https://evil.example)"),
        ("[https://a.example.evil](https://a.example)", "https://a.example.evil (https://a.example)"),
        ("https://a.example/路径", "https://a.example/路径"),
        ("[@Ben](/people/1)", "@Ben"),
        ("[](https://a.example) [ ](https://a.example) [\u200b](https://a.example) a", "\u200b a"),
        ("[write](MAILTO:ann@a.example?subject=Hi%20there)", "write (ann@a.example)"),
        ("# [a](https://a.example)", "# a (https://a.example)"),
        ("[a *b* `c`](https://a.example/?x=1&y=2)", "a b c (https://a.example/?x=1&y=2)"),
    ],
)
def test_the_address_of_a_link_is_said_where_its_text_does_not_say_it(source: str, text: str) -> None:
    assert text_of(source) == text


@pytest.mark.parametrize("hosts", [(), ("a.example",)])
@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("![a cat](https://a.example/1)", "an image: a cat"),
        ("![](https://a.example/b/c%20d.png?e)", "an image: c d.png"),
        ("![](https://a.example)", "an image: a.example"),
        ("see ![a & b](https://a.example/1), yes", "see an image: a & b, yes"),
        ("~~![a](https://a.example/1)~~", "~~an image: a~~"),
        ("- ![a](https://a.example/1)", "- an image: a"),
    ],
)
def test_an_image_is_named(source: str, text: str, hosts: tuple[str, ...]) -> None:
    assert text_of(source, hosts=hosts) == text


def test_a_table_stands_in_columns() -> None:
    source = "| Fruit | Price |\n|:--|--:|\n| Äpfel | 2 |\n| 林檎 | 10 |\n| ~~figs~~ |"
    assert text_of(source).split("\n") == [
        "| Fruit    | Price |",
        "|----------|-------|",
        "| Äpfel    |     2 |",
        "| 林檎     |    10 |",
        "| ~~figs~~ |       |",
    ]
    assert text_of(f"> {source}".replace("\n", "\n> ")).split("\n")[1] == "> |----------|-------|"


def test_a_wide_table_names_each_cell() -> None:
    words = "word " * 20
    text = text_of(f"| Who | What |\n|---|---|\n| Ann | {words}|\n| Ben | b |")
    assert text.startswith("Who: Ann\nWhat: word")
    assert text.endswith("\n\nWho: Ben\nWhat: b")
    assert max(map(len, text.split("\n"))) <= 76


def test_long_lines_are_broken_with_their_prefix() -> None:
    lines = text_of("> - " + "word " * 60).split("\n")
    assert lines[0].startswith("> - word")
    assert all(line.startswith(">   word") for line in lines[1:])
    assert max(map(len, lines)) <= 76
    assert " ".join(line[4:] for line in lines) == ("word " * 60).strip()


@pytest.mark.parametrize(
    "line", ["a" * 300, "see https://a.example/" + "b" * 200 + " now", "日本語、" * 50, "שלום עולם " * 20, "👩‍👧 " * 60]
)
def test_broken_lines_lose_nothing(line: str) -> None:
    lines = wrapped(line.strip(), 40)
    assert "".join(lines).replace(" ", "") == line.replace(" ", "")
    assert all(width(one) <= 40 for one in lines if " " in one or "日" in one)
    assert not any(one.startswith("、") for one in lines)


def test_a_broken_line_begins_with_no_mark() -> None:
    lines = wrapped("x" * 38 + " - " + "y" * 30 + " 1986. " + "z" * 30, 40)
    assert not any(line.startswith(("- ", "1986.")) for line in lines)


def test_code_and_tables_are_not_broken() -> None:
    assert text_of("```\n" + "code " * 30 + "\n```").split("\n") == ["    " + ("code " * 30).rstrip()]


@pytest.mark.parametrize(
    "source", ["line\n\n" * 500, "word " * 1000, "x" * 4000, "- a\n" * 900, "| a |\n|-|\n" + "|b|\n" * 900]
)
def test_a_long_text_is_cut_and_says_so(source: str) -> None:
    html = to_html(source, "markdown", "comment")
    text = plain(f"<blockquote>{html}</blockquote>", columns=76, most=1000)
    assert len(text) < 1100
    assert text.split("\n")[-1] in ("> […]", ">   […]")
    assert all(line.startswith(">") for line in text.split("\n"))


def sources(chance: random.Random, depth: int = 0) -> list[str]:
    """Return the lines of some blocks in the spelling that plain text has."""
    lines: list[str] = []
    previous = ""
    for _ in range(chance.randint(1, 4)):
        kinds = ["paragraph", "quotation", "bullets", "numbers", "code", "heading", "rule", "table"]
        if depth > 2:
            kinds = ["paragraph", "code"]
        if previous in ("bullets", "numbers"):  # indented code would belong to the item
            kinds = ["paragraph", "quotation"]
        if depth:
            kinds = [kind for kind in kinds if kind not in ("heading", "rule", "table")]
        previous = chance.choice(kinds)
        lines += [""] if lines else []
        lines += block(previous, chance, depth)
    return lines


def block(kind: str, chance: random.Random, depth: int) -> list[str]:
    words = [chance.choice(["one", "two & three", "~~not~~ four", "日本", "x < y", "`five`"[1:5]]) for _ in range(3)]
    if kind == "paragraph":
        return words[: chance.randint(1, 3)]
    if kind == "quotation":
        return [f"> {line}".rstrip() for line in sources(chance, depth + 1)]
    if kind in ("bullets", "numbers"):
        lines: list[str] = []
        number = chance.choice([1, 9, 1986])
        for count in range(chance.randint(1, 3)):
            mark = "- " if kind == "bullets" else f"{number + count}. "
            inner = [words[0], *([] if chance.random() < 0.6 or depth > 1 else block("bullets", chance, depth + 1))]
            lines += [mark + inner[0], *(" " * len(mark) + line for line in inner[1:])]
        return lines
    if kind == "code":
        return ["    if x:", "        y"]
    if kind == "table":
        return ["| a   | b |", "|-----|---|", "| one | 2 |"]
    return ["# Title"] if kind == "heading" else ["---"]


def test_plain_text_read_as_markdown_is_the_same_page() -> None:
    chance = random.Random(20261127)
    for _ in range(1_000):
        source = "\n".join(sources(chance))
        html = to_html(source, "markdown", "comment")
        text = plain(html)
        assert to_html(text, "markdown", "comment") == html, source


@pytest.mark.parametrize(
    "source",
    [
        *("> " * 40 + "a", "- " * 20 + "a\n" * 500, "~~a~~ " * 1600, "[a](https://b.example) " * 400, "a\n" * 5000),
        *("| a " * 90 + "|\n" + "|-" * 90 + "|\n|x|", "[^1] " * 900 + "\n\n[^1]: x", "*a* " * 2000, "&lt;" * 2000),
        *("![](https://b.example/" + "c" * 500 + ")" * 10, "1. a\n" * 2000, "日" * 9000, "日 " * 5000, "「" * 9000),
    ],
)
def test_text_is_made_in_linear_time(source: str) -> None:
    html = to_html(source, "markdown", "comment")

    def seconds(times: int) -> float:
        found = []
        for _ in range(3):
            begun = time.process_time()
            plain(f"<blockquote>{html * times}</blockquote>", columns=76)
            found.append(time.process_time() - begun)
        return min(found)

    assert seconds(8) < 0.05 + 8 * 4 * seconds(1)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("1986. What a season.", "1986. What a season."),
        ("~~not~~ good idea", "~~not~~ good idea"),
        ("a[^n]\n\n[^n]: one", "a[1] 1. one"),
        ("[here](https://a.example) ![a cat](https://a.example/1)", "here a cat"),
        ("> a\n\n- b\n- c", "a b c"),
    ],
)
def test_an_excerpt_keeps_the_meaning_of_its_words(source: str, text: str) -> None:
    assert excerpt(to_html(source, "markdown", "post")) == text
