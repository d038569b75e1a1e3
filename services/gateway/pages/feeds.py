"""Feeds of the site, tags, people and discussions, sitemap and robots.txt: what a stranger may read, and no more."""

import asyncio
from xml.etree.ElementTree import Element, SubElement, tostring

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.errors import not_found
from services.contracts.ids import id_or_none
from services.contracts.links import comment_path, person_path, post_path, tag_path
from services.gateway import responses
from services.gateway.composition import syndication
from services.gateway.composition.request_context import Json, RequestContext
from services.gateway.guards import Unauthenticated
from services.gateway.languages import gettext
from services.gateway.pages.atom import MEDIA_TYPE, Entry, Feed, written
from services.gateway.pages.render import PageRoute, shown_site

router = APIRouter(route_class=PageRoute, include_in_schema=False)

SITEMAPS = "http://www.sitemaps.org/schemas/sitemap/0.9"
NOT_INDEXED = ("/sign-in", "/register", "/unsubscribe/", "/mail/", "/feeds/", "/me", "/write", "/moderate")


@router.get("/feed.atom")
async def of_site(request: Request, context: Unauthenticated) -> Response:
    base, site = context.public_url.rstrip("/"), shown_site()
    entries = [_post_entry(post) for post in await syndication.posts(context, {})]
    feed = Feed(site.name, f"{base}/feed.atom", f"{base}/", entries, site.tagline, site.language)
    return responses.document(request, context, written(feed), MEDIA_TYPE)


@router.get("/tags/{tag}/feed.atom")
async def of_tag(request: Request, context: Unauthenticated, tag: str) -> Response:
    spelled, posts = await syndication.tagged(context, tag)
    return _of_posts(request, context, spelled, tag_path(spelled), posts)


@router.get("/people/{person_id}/feed.atom")
async def of_person(request: Request, context: Unauthenticated, person_id: str) -> Response:
    found = id_or_none(person_id)
    if found is None:
        raise not_found()
    name, posts = await syndication.of_author(context, found)
    return _of_posts(request, context, name, person_path(found), posts)


@router.get("/posts/{ref}/feed.atom")
async def discussion(request: Request, context: Unauthenticated, ref: str) -> Response:
    post, comments = await syndication.discussion(context, ref)
    page = context.public_url.rstrip("/") + post_path(post["slug"])
    title = post["title"] or gettext("Untitled")
    entries = [_comment_entry(context, comment, post["slug"], title) for comment in comments]
    site = shown_site()
    feed = Feed(f"{title} · {site.name}", f"{page}/feed.atom", f"{page}#comments", entries, language=site.language)
    return responses.document(request, context, written(feed), MEDIA_TYPE)


def _of_posts(request: Request, context: RequestContext, title: str, path: str, posts: list[Json]) -> Response:
    """Answer with the feed of some posts, beside the page that lists them."""
    page, site = context.public_url.rstrip("/") + path, shown_site()
    entries = [_post_entry(post) for post in posts]
    feed = Feed(f"{title} · {site.name}", f"{page}/feed.atom", page, entries, language=site.language)
    return responses.document(request, context, written(feed), MEDIA_TYPE)


def _post_entry(post: Json) -> Entry:
    return Entry(
        id=post["id"],
        title=post["title"] or gettext("Untitled"),
        url=post["url"],
        author=post["author"]["name"] or gettext("Somebody"),
        published=post["published_at"],
        updated=post["edited_at"] or post["published_at"],
        html=post["body_html"],
        summary=post["excerpt"],
        tags=post.get("tags", ()),
        discussion=(f"{post['url']}/feed.atom", post["comment_count"]),
    )


def _comment_entry(context: RequestContext, comment: Json, slug: str, title: str) -> Entry:
    def page(comment_id: str) -> str:
        return context.public_url.rstrip("/") + comment_path(slug, comment_id)

    above, author = comment["parent_id"], comment["author"]["name"] or gettext("Somebody")
    answered = (above, page(above)) if above else (comment["post_id"], context.public_url.rstrip("/") + post_path(slug))
    return Entry(
        id=comment["id"],
        title=f"{author}: {title}",
        url=page(comment["id"]),
        author=author,
        published=comment["created_at"],
        updated=comment.get("edited_at") or comment["created_at"],
        html=comment["body_html"],
        answers=answered,
    )


@router.get("/feeds/{token}.atom")
async def answers(request: Request, context: Unauthenticated, token: str) -> Response:
    """Show a person what answers them; whoever has the address reads it, so nobody but them should."""
    base, site = context.public_url.rstrip("/"), shown_site()
    name, found = await syndication.answers_to(context, token)
    entries = [
        _comment_entry(context, comment, post["slug"], post["title"] or gettext("Untitled")) for comment, post in found
    ]
    feed = Feed(
        gettext("Answers to %(name)s", name=name) + f" · {site.name}",
        f"{base}/feeds/{token}.atom",
        f"{base}/",
        entries,
        language=site.language,
    )
    response = responses.document(request, context, written(feed), MEDIA_TYPE)
    response.headers["Cache-Control"] = responses.PRIVATE
    response.headers["X-Robots-Tag"] = "noindex"
    return response


@router.get("/sitemap.xml")
async def sitemap(request: Request, context: Unauthenticated) -> Response:
    base = context.public_url.rstrip("/")
    root = Element("sitemapindex", {"xmlns": SITEMAPS})
    _located(root, "sitemap", f"{base}/sitemaps/lists.xml")
    for item in await syndication.months(context):
        _located(root, "sitemap", f"{base}/sitemaps/{item['month']}.xml", item["changed_at"])
    return _sitemap(request, context, root)


@router.get("/sitemaps/lists.xml")
async def sitemap_of_lists(request: Request, context: Unauthenticated) -> Response:
    """Lead to the lists of posts: all, those of each tag, and those of each author."""
    base = context.public_url.rstrip("/")
    tags, authors = await asyncio.gather(syndication.every_tag(context), syndication.every_author(context))
    root = Element("urlset", {"xmlns": SITEMAPS})
    for path in ("/", "/tags", *map(tag_path, tags)):
        _located(root, "url", base + path)
    for item in authors:
        _located(root, "url", base + person_path(item["author_id"]), item["changed_at"])
    return _sitemap(request, context, root)


@router.get("/sitemaps/{month}.xml")
async def sitemap_of_month(request: Request, context: Unauthenticated, month: str) -> Response:
    base = context.public_url.rstrip("/")
    root = Element("urlset", {"xmlns": SITEMAPS})
    for item in await syndication.addresses(context, month):
        _located(root, "url", base + post_path(item["slug"]), item["changed_at"])
    return _sitemap(request, context, root)


def _located(root: Element, name: str, address: str, changed_at: str | None = None) -> None:
    element = SubElement(root, name)
    SubElement(element, "loc").text = address
    if changed_at is not None:
        SubElement(element, "lastmod").text = changed_at


def _sitemap(request: Request, context: RequestContext, root: Element) -> Response:
    content = tostring(root, encoding="utf-8", xml_declaration=True)
    return responses.document(request, context, content, "application/xml")


@router.get("/robots.txt")
async def robots(context: Unauthenticated) -> Response:
    lines = ["User-agent: *", *(f"Disallow: {path}" for path in NOT_INDEXED)]
    lines += ["", f"Sitemap: {context.public_url.rstrip('/')}/sitemap.xml", ""]
    headers = {"Cache-Control": "public, max-age=3600"}
    return Response("\n".join(lines), headers=headers, media_type="text/plain")
