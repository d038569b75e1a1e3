"""The web interface of the mailbox. Mails are untrusted: all text is escaped, HTML parts are sandboxed."""

import html
import re
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from deploy.local.mailbox.guard import only_for_its_owner
from deploy.local.mailbox.store import Store, StoredMail

LINK = re.compile(r"https?://[^\s<>\"]+[^\s<>\".,;:!?)\]]")
LISTED = 200
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; form-action 'self'"
MAIL_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
)
STYLE = """
:root { color-scheme: light dark;
  --text: #222; --soft: #555; --line: #ddd; --link: #1a4d8f; --paper: #fff; --box: #f6f6f4 }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e6e3; --soft: #a9a9a4; --line: #444; --link: #8ab8f0; --paper: #1b1b1a; --box: #282827 }
}
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: var(--text); background: var(--paper) }
h1 { overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .4rem .6rem; vertical-align: top }
tr { border-bottom: 1px solid var(--line) } a { color: var(--link) }
time, th { color: var(--soft); white-space: nowrap }
td { overflow-wrap: anywhere }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--box); padding: 1rem }
iframe { width: 100%; height: 32rem; border: 1px solid var(--line); box-sizing: border-box;
  color-scheme: light; background: #fff }
@media (max-width: 40rem) {
  table, tbody, tr, td, th { display: block } .list tr:first-child { display: none }
  td, th { padding: 0 } tr { padding: .5rem 0 }
}
"""
STORE = web.AppKey("store", Store)


def create_app(store: Store) -> web.Application:
    """Return the web application: `/`, one page per mail, its HTML and source, `/messages.json`, and `/livez`.

    It answers this machine's names only, and this user only.
    """
    app = web.Application(middlewares=[only_for_its_owner])
    app[STORE] = store
    app.add_routes(
        [
            web.get("/", show_list),
            web.post("/clear", clear),
            web.get("/messages.json", list_as_json),
            web.get("/messages/{name}", show_mail),
            web.get("/messages/{name}/html", show_html),
            web.get("/messages/{name}/source", show_source),
            web.get("/livez", live),
        ]
    )
    return app


async def live(_: web.Request) -> web.Response:
    return web.Response(text="ok")


async def show_list(request: web.Request) -> web.Response:
    store = request.app[STORE]
    names = store.names()
    rows = "".join(_row(mail) for name in names[:LISTED] if (mail := store.get(name)))
    empty = "<p>No mail yet. This page reloads every five seconds.</p>"
    body = f"<table class='list'><tr><th>Arrived<th>To<th>Subject</tr>{rows}</table>" if rows else empty
    more = f"<p>The newest {LISTED} of {len(names)}.</p>" if len(names) > LISTED else ""
    button = '<form method="post" action="/clear"><button>Delete all</button></form>' if rows else ""
    return _page(f"Mailbox ({len(names)})", body + more + button, refresh=True)


def _row(mail: StoredMail) -> str:
    to, subject = html.escape(", ".join(mail.recipients)), html.escape(mail.header("Subject") or "(no subject)")
    return f'<tr><td>{_when(mail)}<td>{to}<td><a href="/messages/{mail.name}">{subject}</a></tr>'


def _when(mail: StoredMail) -> str:
    moment = datetime.fromtimestamp(mail.arrived_at, UTC)
    return f'<time datetime="{moment.isoformat()}">{moment:%Y-%m-%d %H:%M:%S} UTC</time>'


async def show_mail(request: web.Request) -> web.Response:
    mail = _wanted(request)
    envelope = f"<tr><th>Envelope<td>{html.escape(mail.sender or '<>')} → {html.escape(', '.join(mail.recipients))}"
    headers = "".join(
        f"<tr><th>{html.escape(name)}<td>{html.escape(mail.header(name))}"
        for name in dict.fromkeys(mail.message.keys())
    )
    text = LINK.sub(
        lambda found: f'<a href="{found[0]}" rel="noreferrer">{found[0]}</a>', html.escape(mail.part("plain"))
    )
    frame = (
        f'<h2>HTML</h2><iframe title="HTML part" sandbox="allow-popups allow-popups-to-escape-sandbox" '
        f'src="/messages/{mail.name}/html"></iframe>'
        if mail.part("html")
        else ""
    )
    return _page(
        mail.header("Subject") or "(no subject)",
        f"<p>{_when(mail)} · <a href='/'>all mails</a> · <a href='/messages/{mail.name}/source'>source</a></p>"
        f"<h2>Text</h2><pre>{text or '(no text part)'}</pre>{frame}<h2>Headers</h2><table>{envelope}{headers}</table>",
    )


async def show_html(request: web.Request) -> web.Response:
    content = '<base target="_blank">' + _wanted(request).part("html")
    return web.Response(text=content, content_type="text/html", headers={"Content-Security-Policy": MAIL_POLICY})


async def show_source(request: web.Request) -> web.Response:
    source = _wanted(request).content.decode("utf-8", "replace")
    return web.Response(text=source, headers={"X-Content-Type-Options": "nosniff"})


async def list_as_json(request: web.Request) -> web.Response:
    """Return the mails as JSON, newest first; `?to=` filters by envelope recipient."""
    store, wanted = request.app[STORE], request.query.get("to", "").lower()
    mails = (mail for name in store.names() if (mail := store.get(name)))
    items = [_as_json(mail) for mail in mails if not wanted or wanted in (each.lower() for each in mail.recipients)]
    return web.json_response({"items": items})


def _as_json(mail: StoredMail) -> dict[str, Any]:
    return {
        "id": mail.name,
        "arrived_at": datetime.fromtimestamp(mail.arrived_at, UTC).isoformat(),
        "from": mail.sender,
        "to": list(mail.recipients),
        "subject": mail.header("Subject"),
        "headers": [[name, mail.header(name)] for name in dict.fromkeys(mail.message.keys())],
        "text": mail.part("plain"),
        "html": mail.part("html"),
    }


async def clear(request: web.Request) -> web.Response:
    """Delete all mails, unless the request comes from another origin."""
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != request.host:
        raise web.HTTPForbidden
    request.app[STORE].clear()
    raise web.HTTPSeeOther("/")


def _wanted(request: web.Request) -> StoredMail:
    mail = request.app[STORE].get(request.match_info["name"])
    if mail is None:
        raise web.HTTPNotFound
    return mail


def _page(title: str, body: str, *, refresh: bool = False) -> web.Response:
    again = '<meta http-equiv="refresh" content="5">' if refresh else ""
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8">{again}'
        f'<meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style><h1>{html.escape(title)}</h1>{body}"
    )
    return web.Response(text=text, content_type="text/html", headers={"Content-Security-Policy": PAGE_POLICY})
