"""The form of a post: what stands in it, and what of it is to be stored."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from services.chassis.errors import invalid
from services.contracts.ids import id_or_none
from services.contracts.links import image_path
from services.contracts.normal_form import nfc
from services.contracts.tags import folded
from services.gateway.composition.request_context import Json
from services.gateway.languages import N_
from services.gateway.pages.forms import Fields
from services.gateway.pages.refusals import Refusal
from services.gateway.pages.render import post_path

DISCUSSIONS = ("open", "held", "closed")
KINDS = ("post", "page")
STATUSES = ("draft", "scheduled", "published", "withdrawn")
TEXTS = ("title", "body")
CHOICES = ("slug", "tags", "excerpt", "cover", "discussion", "publish_at", "edit_note")
NEW = {"discussion": "open", "kind": "post"}
BETWEEN_TAGS = re.compile("[,،、]")
VERSION = re.compile(r"[0-9]{1,18}-[0-9]{1,18}")  # epoch and version, as `version_of` writes them
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d", re.ASCII)  # what a browser sends of a time to the minute
IMAGE = re.compile(r"/images/([0-9a-fA-F-]{36})\.webp")
MOST_PICTURES = 50


@dataclass(frozen=True)
class PostForm:
    """The form of a post as it is shown, new or anew.

    Attributes:
        values: what stands in the fields; of the time of publication the UTC one.
        post_id: the post that is edited; None for a new one.
        post: that post as posts answers; None where it could not be asked for, too.
        version: of the post as it was when the form was opened, for `If-Match`; epoch, then version.
        key: the idempotency key, one as long as the form lives.
        opened_by: whom it was shown to, where it is not known who looks at it now.
        preview: the text as HTML, if that was asked for.
    """

    values: Fields = field(default_factory=lambda: dict(NEW))
    post_id: str | None = None
    post: Json | None = None
    version: str = ""
    key: str = field(default_factory=lambda: str(uuid4()))
    opened_by: str = ""
    refusal: Refusal | None = None
    preview: str | None = None

    @classmethod
    def new(cls, kind: str) -> "PostForm":
        """Return the form of a new post or page; nobody discusses an imprint."""
        return cls(NEW | {"kind": "page", "discussion": "closed"} if kind == "page" else dict(NEW))

    @classmethod
    def of(cls, post: Json) -> "PostForm":
        """Return the form to edit a post."""
        return cls(stored_values(post), post["id"], post, version_of(post))

    @classmethod
    def sent(
        cls,
        sent: Fields,
        *,
        post_id: str | None = None,
        post: Json | None = None,
        refusal: Refusal | None = None,
        preview: str | None = None,
    ) -> "PostForm":
        """Return a form that comes back with what was typed."""
        key = id_or_none(sent.get("key"))
        if refusal is not None and refusal.kind == "idempotency-key-reused":
            key = None
        values = {name: sent.get(name, "") for name in (*TEXTS, *CHOICES, "kind", "alt", "status")}
        version, opened_by = sent.get("version", ""), sent.get("for", "")
        return cls(values, post_id, post, version, key or str(uuid4()), opened_by, refusal, preview)

    @property
    def action(self) -> str:
        return f"/write/{self.post_id}" if self.post_id else "/write"

    @property
    def status(self) -> str:
        """Where the post is on its way; `new` before it is stored."""
        if self.post is not None:
            return str(self.post["status"])
        said = self.values.get("status")
        return said if self.post_id and said in STATUSES else "draft" if self.post_id else "new"

    @property
    def was_public(self) -> bool:
        """Whether readers have seen the post, so that they are told what changed."""
        return self.post["published_at"] is not None if self.post else self.status in ("published", "withdrawn")

    @property
    def kind(self) -> str:
        return str(self.post["kind"]) if self.post else self.values.get("kind") or "post"

    @property
    def stored(self) -> Json | None:
        """The post as it is stored now, beside a form that was opened before somebody changed it."""
        return self.post if self.refusal is not None and self.refusal.kind == "stale" else None

    @property
    def stored_version(self) -> str:
        return version_of(self.post) if self.post else ""

    @property
    def pictures(self) -> Sequence[tuple[str, str]]:
        """Return id and path of the pictures that the text shows and of the cover, each once."""
        cover = id_or_none(self.values.get("cover"))
        found = [cover] if cover else []
        found += [image_id.lower() for image_id in IMAGE.findall(self.values.get("body", ""))]
        ids = [image_id for image_id in dict.fromkeys(found) if id_or_none(image_id)]
        return [(image_id, image_path(image_id)) for image_id in ids[:MOST_PICTURES]]

    @property
    def page(self) -> str | None:
        """The path of the post's page."""
        return post_path(self.post["slug"]) if self.post else None

    def wrong(self, name: str) -> str | None:
        """Return what is wrong with a field."""
        return self.refusal.by_field.get(name) if self.refusal else None

    @property
    def first_wrong(self) -> str | None:
        """Return the field that is wrong, or the first of them; it gets the focus."""
        return next(iter(self.refusal.by_field), None) if self.refusal else None


def version_of(post: Json) -> str:
    return f"{post.get('epoch', 0)}-{post['version']}"


def if_match(version: str) -> dict[str, str]:
    """Return the header that lets a write pass only if the post still has the version in a form."""
    if not VERSION.fullmatch(version):
        return {}
    epoch, _, number = version.partition("-")
    return {"If-Match": f'"{number}-e{epoch}-form"' if epoch != "0" else f'"{number}-form"'}


def stored_values(post: Json) -> Fields:
    """Return what stands in the form of a post that nobody has changed."""
    return {name: str(post[name]) for name in (*TEXTS, "slug", "discussion", "kind")} | {
        "tags": ", ".join(post.get("tags", [])),
        "excerpt": post["excerpt"] if post.get("has_own_excerpt") else "",
        "cover": post.get("cover") or "",
        "publish_at": (post.get("publish_at") or "")[: len("2026-11-27T21:00")],
    }


def creation(form: Fields) -> Json:
    """Return the body of the command to create a post.

    Raises:
        Problem: `invalid`.
    """
    body: Json = {name: form[name] for name in TEXTS if name in form}
    body |= {name: value for name, value in _choices(form).items() if value not in (None, [])}
    if form.get("kind") == "page":
        body["kind"] = "page"
    if form.get("step") == "schedule":
        body["publish_at"] = moment_of(form)
    return body | {"publish": form.get("step") == "publish"}


def changes(form: Fields, post: Json) -> Json:
    """Return the body of the command to edit a post: what differs from what is stored.

    Raises:
        Problem: `invalid`.
    """
    was = stored_values(post)
    body: Json = {name: form[name] for name in TEXTS if form.get(name, was[name]) != was[name]}
    chosen = _choices(form)
    body |= {name: value for name, value in chosen.items() if name == "discussion" or value != _choices(was)[name]}
    if body.get("slug", "") is None:  # an address that is left empty stays
        del body["slug"]
    if form.get("edit_note", "").strip():
        body["edit_note"] = form["edit_note"]
    is_moved = post["status"] == "scheduled" and form.get("publish_at", "") not in ("", was["publish_at"])
    if form.get("step") == "schedule" or (form.get("step") != "unschedule" and is_moved):
        body["publish_at"] = moment_of(form)
    elif form.get("step") == "unschedule":
        body["publish_at"] = None
    return body


def is_stored(form: Fields, post: Json) -> bool:
    """Return whether a post has become what a form says since the form was opened.

    Then an earlier press of its button stored it and the answer was lost, or what was to come after it failed. What
    differs from what is stored is not what that press sent, so its key would be refused.
    """
    opened = form.get("version", "")
    if not VERSION.fullmatch(opened) or opened == version_of(post):
        return False
    was = stored_values(post)
    as_stored = {name: was[name] for name in TEXTS if _bare(form.get(name, "")) == _bare(was[name])}
    if [*map(folded, _tags(form.get("tags", "")))] == [*map(folded, _tags(was["tags"]))]:
        as_stored["tags"] = was["tags"]
    time = f"{was['publish_at']}:00Z" if was["publish_at"] else None
    same = {"discussion": was["discussion"], "edit_note": post["edit_note"], "publish_at": time}
    return all(name in same and value == same[name] for name, value in changes(form | as_stored, post).items())


def _bare(text: str) -> str:
    return nfc(text).strip()


def _tags(text: str) -> list[str]:
    return [tag.strip() for tag in BETWEEN_TAGS.split(text) if tag.strip()]


def _choices(form: Fields) -> dict[str, Any]:
    """Return what was chosen beside the texts, as the commands want it; what is empty is None.

    Raises:
        Problem: `invalid`.
    """
    chosen: dict[str, Any] = {"discussion": form.get("discussion", "open")}
    if chosen["discussion"] not in DISCUSSIONS:
        raise invalid("discussion", N_("must be one of those offered"))
    for name in ("slug", "excerpt"):
        if name in form:
            chosen[name] = form[name].strip() or None
    if "tags" in form:
        chosen["tags"] = _tags(form["tags"])
    if "cover" in form:
        chosen["cover"] = form["cover"] or None
        if chosen["cover"] is not None and id_or_none(form["cover"]) is None:
            raise invalid("cover", N_("must be one of those offered"))
    return chosen


def moment_of(form: Fields) -> str:
    """Return the time of publication as the command wants it; the form has it in UTC.

    Raises:
        Problem: `invalid`.
    """
    value = form.get("publish_at", "").strip()
    if not value:
        raise invalid("publish_at", N_("must be said: a day and a time"))
    if not TIME.match(value):
        raise invalid("publish_at", N_("must be a day and a time, such as 2027-01-31T09:00"))
    return f"{value[:16]}:00Z"
