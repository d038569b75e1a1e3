"""Small WordPress exports, made for tests."""

from pathlib import Path
from xml.sax.saxutils import escape

URI = "http://wordpress.org/export/1.2/"
BLOG = "https://blog.example"


def cdata(text: str) -> str:
    return "<![CDATA[" + text.replace("]]>", "]]]]><![CDATA[>") + "]]>"


def _fields(fields: dict[str, object], prefix: str) -> str:
    return "".join(f"<{prefix}:{name}>{cdata(str(value))}</{prefix}:{name}>\n" for name, value in fields.items())


def comment(comment_id: int | str, parent: int | str = 0, *, prefix: str = "wp", **fields: object) -> str:
    given: dict[str, object] = {
        "comment_id": comment_id,
        "comment_author": f"Somebody {comment_id}",
        "comment_author_email": f"c{comment_id}@example.org",
        "comment_date": "2012-03-04 06:07:08",
        "comment_date_gmt": "2012-03-04 05:06:07",
        "comment_content": f"Comment <b>{comment_id}</b>",
        "comment_approved": "1",
        "comment_type": "",
        "comment_parent": parent,
        "comment_user_id": 0,
    }
    return f"<{prefix}:comment>\n{_fields(given | fields, prefix)}</{prefix}:comment>\n"


def item(post_id: int | str, *comments: str, prefix: str = "wp", **fields: object) -> str:
    title, creator = fields.pop("title", f"Title {post_id}"), fields.pop("creator", "ada")
    link, guid = fields.pop("link", ""), fields.pop("guid", "")
    content, excerpt = fields.pop("content", f"<p>Text {post_id}</p>"), fields.pop("excerpt", "")
    given: dict[str, object] = {
        "post_id": post_id,
        "post_date": "2012-01-02 04:04:05",
        "post_date_gmt": "2012-01-02 03:04:05",
        "comment_status": "open",
        "post_name": f"slug-{post_id}",
        "status": "publish",
        "post_parent": 0,
        "post_type": "post",
        "post_password": "",
    }
    return (
        f"<item>\n<title>{escape(str(title))}</title>\n<link>{escape(str(link))}</link>\n"
        f"<guid>{escape(str(guid))}</guid>\n<dc:creator>{cdata(str(creator))}</dc:creator>\n"
        f"<content:encoded>{cdata(str(content))}</content:encoded>\n"
        f"<excerpt:encoded>{cdata(str(excerpt))}</excerpt:encoded>\n{_fields(given | fields, prefix)}"
        f"<{prefix}:postmeta><{prefix}:meta_key>_edit_last</{prefix}:meta_key></{prefix}:postmeta>\n"
        f"{''.join(comments)}</item>\n"
    )


def author(login: str, name: str, email: str = "", author_id: int | None = None, *, prefix: str = "wp") -> str:
    given: dict[str, object] = {} if author_id is None else {"author_id": author_id}
    given |= {"author_login": login, "author_email": email, "author_display_name": name}
    return f"<{prefix}:author>{_fields(given, prefix)}</{prefix}:author>\n"


def export(
    *parts: str, prefix: str = "wp", uri: str | None = URI, version: str = "1.2", blog: str = BLOG, start: str = ""
) -> str:
    """A whole export around authors and items; `start` goes between the XML declaration and the root."""
    declared = "" if uri is None else f' xmlns:{prefix}="{uri}" xmlns:excerpt="{uri}excerpt/"'
    return (
        f'<?xml version="1.0" encoding="UTF-8" ?>\n{start}<!-- generator="WordPress/6.1" -->\n'
        f'<rss version="2.0"{declared} xmlns:content="http://purl.org/rss/1.0/modules/content/" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/">\n<channel>\n<title>A blog</title>\n'
        f"<link>{blog}</link>\n<pubDate>Tue, 27 Jan 2015 14:56:57 +0000</pubDate>\n"
        f"<{prefix}:wxr_version>{version}</{prefix}:wxr_version>\n"
        f"<{prefix}:base_site_url>https://network.example/</{prefix}:base_site_url>\n"
        f"<{prefix}:base_blog_url>{blog}</{prefix}:base_blog_url>\n"
        f"<{prefix}:category><{prefix}:cat_name>x</{prefix}:cat_name></{prefix}:category>\n"
        f"{''.join(parts)}</channel>\n</rss>\n"
    )


def written(folder: Path, content: str | bytes) -> Path:
    """The export as a file."""
    path = folder / "export.xml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
