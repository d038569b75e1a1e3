"""Reading WordPress exports: every dialect is accepted, hostile content is refused."""

import gzip
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from services.operator.failures import Failed
from services.operator.wordpress import archive, reader, source
from services.operator.wordpress.reader import Record, records
from tests.unit.operator_exports import author, cdata, comment, export, item, written


def read(path: Path) -> list[Record]:
    return list(records(path))


def test_what_an_author_chose_among_categories_is_read(tmp_path: Path) -> None:
    chosen = "".join(
        f'<category domain="{domain}" nicename="{name}">{cdata(text)}</category>'
        for domain, name, text in (
            ("category", "uncategorized", "Uncategorized"),
            ("category", "news", "News"),
            ("post_tag", "kafka", "Kafka"),
            ("post_format", "post-format-aside", "Aside"),
        )
    )
    [read] = items(tmp_path, export(item(1).replace("</item>", f"{chosen}</item>")))
    assert read.categories == ["News", "Kafka"]


def items(folder: Path, content: str | bytes) -> list[Record]:
    return [record for record in read(written(folder, content)) if record.kind == "item"]


def test_authors_channel_and_items_are_read_with_their_fields(tmp_path: Path) -> None:
    first = item(1, comment(10), comment(11, 10), title="Tom & <b>Jerry</b>", excerpt="Short")
    found = read(written(tmp_path, export(author("ada", "Ada"), first, item(2))))
    assert [record.kind for record in found] == ["author", "channel", "item", "item"]
    assert found[0].get("wp:author_display_name") == "Ada"
    assert found[1].get("wp:base_blog_url") == "https://blog.example"
    assert found[2].get("title") == "Tom & <b>Jerry</b>"
    assert (found[2].get("content:encoded"), found[2].get("excerpt:encoded")) == ("<p>Text 1</p>", "Short")
    assert [one.get("wp:comment_parent") for one in found[2].comments] == ["0", "10"]
    assert found[3].comments == []


@pytest.mark.parametrize(
    "uri",
    [
        *(f"{scheme}://wordpress.org/export/{version}/" for scheme in ("http", "https") for version in ("1.0", "1.1")),
        *("https://wordpress.org/export/1.2/", "http://www.wordpress.org/export/1.2", "urn:something-else"),
    ],
)
def test_the_namespace_uri_does_not_matter(tmp_path: Path, uri: str) -> None:
    found = items(tmp_path, export(item(7, comment(8), excerpt="E"), uri=uri))
    assert (found[0].get("wp:post_id"), found[0].get("excerpt:encoded")) == ("7", "E")
    assert found[0].comments[0].get("wp:comment_id") == "8"


def test_renamed_and_undeclared_prefixes_are_understood(tmp_path: Path) -> None:
    uri = "https://mirror.example/export/1.1/"
    renamed = export(item(7, comment(8, prefix="x"), prefix="x"), prefix="x", uri=uri)
    undeclared = export(item(7, comment(8)), uri=None)
    for content in (renamed, undeclared):
        found = items(tmp_path, content)
        assert found[0].get("wp:post_id") == "7"
        assert found[0].comments[0].get("wp:comment_content") == "Comment <b>8</b>"


def test_a_declaration_counts_only_inside_its_element(tmp_path: Path) -> None:
    strange = '<item xmlns:wp="http://purl.org/dc/elements/1.1/"><wp:creator>me</wp:creator></item>'
    found = items(tmp_path, export(strange, item(7)))
    assert found[0].fields == {"dc:creator": "me"}
    assert found[1].get("wp:post_id") == "7"


def test_text_in_many_pieces_is_one_text(tmp_path: Path) -> None:
    found = items(tmp_path, export(item(1, content="a ]]> b & <![CDATA[ c")))
    assert found[0].get("content:encoded") == "a ]]> b & <![CDATA[ c"


@pytest.mark.parametrize(
    ("name", "start"),
    [("utf-8", b""), ("utf-8-sig", b""), ("utf-16", b""), ("utf-8", b"\n\n \n"), ("utf-8", b"\xef\xbb\xbf\r\n")],
)
def test_byte_order_marks_and_leading_blank_lines_are_accepted(tmp_path: Path, name: str, start: bytes) -> None:
    assert items(tmp_path, start + export(item(1, title="Ελλάς")).encode(name))[0].get("title") == "Ελλάς"


def test_a_declared_encoding_is_used_and_an_unknown_one_refused(tmp_path: Path) -> None:
    content = export(item(1, title="Été"))
    latin = content.replace("UTF-8", "ISO-8859-1").encode("iso-8859-1")
    assert items(tmp_path, latin)[0].get("title") == "Été"
    with pytest.raises(Failed, match="unicode_escape"):
        items(tmp_path, content.replace("UTF-8", "unicode_escape"))


def test_forbidden_characters_are_removed(tmp_path: Path) -> None:
    content = export(item(1, content="a\x00b\x08c\x1bd\ufffee\tf&#8;g"), item(2, title="x")).encode()
    content = content.replace(b"<title>x</title>", b"<title>&#x0;&#11;&#xD800;&#65;&#x110000; \xff\xfe</title>")
    first, second = items(tmp_path, content)
    assert first.get("content:encoded") == "abcde\tfg"
    assert second.get("title") == "A \ufffd\ufffd"


def test_chunk_boundaries_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = export(author("ada", "Ada"), item(1, comment(2, comment_content="&#8;€&#65;]]"), title="&#8;é&amp;"))
    whole = read(written(tmp_path, content))
    for size in (1, 2, 3, 7):
        monkeypatch.setattr(source, "CHUNK", size)
        assert read(written(tmp_path, content)) == whole


def test_the_file_is_read_as_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "CHUNK", 100)
    broken_at_its_end = export(*(item(number) for number in range(50)))[:-10]
    found: list[Record] = []
    with pytest.raises(Failed, match="not a whole XML file"):
        for record in records(written(tmp_path, broken_at_its_end)):
            found += [record]
    assert [record.get("wp:post_id") for record in found if record.kind == "item"] == [str(n) for n in range(50)]


SECRET = "no such text may come out"  # the target of the external entities below


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE rss [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;">]>',
        '<!DOCTYPE rss [<!ENTITY c SYSTEM "file://{secret}">]>',
        '<!DOCTYPE rss [<!ENTITY % c SYSTEM "file://{secret}"> %c;]>',
        '<!DOCTYPE rss SYSTEM "http://127.0.0.1:9/evil.dtd">',
        "<!DOCTYPE rss>",
    ],
)
def test_a_document_type_is_refused_before_any_item(tmp_path: Path, doctype: str) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text(SECRET)
    content = export(item(1), start=doctype.replace("{secret}", str(secret))).replace("Title 1", "&c;")
    found: list[Record] = []
    with pytest.raises(Failed, match="document type") as failure:
        found.extend(read(written(tmp_path, content)))
    assert found == []
    assert SECRET not in str(failure.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "not a whole XML file"),
        ("plain text", "not a whole XML file"),
        ("<html><body>Sign in</body></html>", "begins with <html>"),
        ("<feed/>", "begins with <feed>"),
        (export(item(1))[:-30], "not a whole XML file"),
        (export(item(1)).replace("</item>", "</itme>"), "mismatched tag"),
        ("<rss>" + "<a>" * 60, "nested deeper"),
        ("<rss><channel>" * 2 + "<a", "not a whole XML file"),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    with pytest.raises(Failed, match=sentence) as failure:
        read(written(tmp_path, content))
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("declaration", ["", ' standalone="yes"', " standalone='no' "])
def test_entities_of_html_are_known_outside_cdata(tmp_path: Path, declaration: str) -> None:
    content = export(item(1, title="x", content="&eacute;&unknown;")).replace('"UTF-8" ', f'"UTF-8"{declaration}')
    content = content.replace("<title>x", "<title>&eacute;&nbsp;&hellip; &unknown; &lt;&amp; Tom & J &#233; &; &")
    [found] = items(tmp_path, content)
    assert found.get("title") == "é\xa0… &unknown; <& Tom & J é &; &"
    assert found.get("content:encoded") == "&eacute;&unknown;"


def test_a_section_that_was_closed_too_early_goes_on_as_text(tmp_path: Path) -> None:
    content = export(item(1, content="x")).replace("<![CDATA[x]]>", "<![CDATA[a <![CDATA[ b ]]> c & d ]]>")
    assert items(tmp_path, content)[0].get("content:encoded") == "a <![CDATA[ b  c & d ]]>"


def zipped(**files: str | bytes) -> bytes:
    """Return a zip archive of files by their names."""
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return archive.getvalue()


def test_archives_are_read(tmp_path: Path) -> None:
    first, second = export(author("ada", "Ada"), item(1, title="Été")), export(item(2))
    assert [one.get("title") for one in items(tmp_path, gzip.compress(first.encode("utf-8-sig"), mtime=0))] == ["Été"]
    junk: dict[str, str | bytes] = {"__MACOSX/a.xml": b"junk", "blog/._a.xml": b"junk", "readme.txt": b"no XML"}
    both = zipped(**{"blog/b.XML": second, "a.xml": first, **junk})
    assert [one.get("wp:post_id") for one in items(tmp_path, both)] == ["1", "2"]


@pytest.mark.parametrize(
    "name",
    ["../../etc/x.xml", "./x.xml", "/etc/x.XML", "a/../x/../x.wxr/../x.xml", "..\\x.xml", "C:\\x.xml", "\\x.xml"],
)
def test_only_the_bytes_of_a_file_in_an_archive_are_used(tmp_path: Path, name: str) -> None:
    content = zipped(**{name: export(item(1))})
    assert [one.get("wp:post_id") for one in items(tmp_path, content)] == ["1"]
    assert [one.name for one in tmp_path.iterdir()] == ["export.xml"]


def test_an_archive_of_many_files_is_read_to_its_end(tmp_path: Path) -> None:
    content = zipped(**{f"{number}.txt": "" for number in range(1500)}, **{"x.xml": export(item(1))})
    assert [one.get("wp:post_id") for one in items(tmp_path, content)] == ["1"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (zipped(**{"a/.b.xml": "x"}), "of hidden XML files"),
        (zipped(**{f"{number}.xml": "x" for number in range(1001)}), "of more than 1000 XML files"),
        (gzip.compress(export(item(1)).encode())[:-200], "broken archive"),
        (gzip.compress(b"x" * 1000, mtime=0)[:20] + b"y" * 30, "broken archive"),
        (zipped(**{"a.xml": export(item(1))})[:-30], "broken archive"),
        (zipped(**{"a.txt": "x"}), "without an XML file"),
        (b"PK\x03\x04", "broken archive"),
        (gzip.compress(gzip.compress(export(item(1)).encode())), "not a whole XML file"),
        (gzip.compress(b"<rss>" + b" " * 3_000_000, mtime=0), "expands"),
        (zipped(**{"a.xml": b"<rss/>" + b" " * 900_000, "b.xml": b"<rss/>" + b" " * 900_000}), "expands"),
    ],
)
def test_a_bad_archive_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, sentence: str
) -> None:
    monkeypatch.setattr(archive, "SPARE", 1_000_000)
    with pytest.raises(Failed, match=sentence) as failure:
        read(written(tmp_path, content))
    assert "\n" not in str(failure.value)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.xml", tmp_path):
        with pytest.raises(Failed, match="cannot be read"):
            read(path)


def test_unfinished_tokens_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "CHUNK", 1000)
    monkeypatch.setattr(reader, "MOST_PENDING", 10_000)
    monkeypatch.setattr(reader, "MOST_TEXT", 20_000)
    for endless, sentence in (
        ("<!-- " + "x" * 50_000, "does not end"),
        ('<rss a="' + "x" * 50_000, "does not end"),
        (export(item(1, content="x" * 50_000)), "too large"),
        (export(item(1, *(comment(number) for number in range(200)))), "too large"),
    ):
        with pytest.raises(Failed, match=sentence):
            read(written(tmp_path, endless))
    several = export(*(item(number, content="x" * 9_000) for number in range(9)))
    assert len(items(tmp_path, several)) == 9


def test_only_the_first_of_two_equal_elements_counts(tmp_path: Path) -> None:
    doubled = item(1).replace("<wp:post_name>", "<wp:status>private</wp:status><wp:post_name>")
    assert items(tmp_path, export(doubled))[0].get("wp:status") == "private"
