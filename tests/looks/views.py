"""The pages and states that are looked at: whose they are, and how one comes to them."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal
from uuid import uuid4

from playwright.async_api import Page

from tests.client import LINK
from tests.looks.story import Story
from tests.waiting import eventually

Who = Literal["stranger", "ben", "eve", "ada"]  # a reader, one to whom nothing happened, an admin


@dataclass(frozen=True)
class View:
    """One page in one state.

    Attributes:
        path: of a story, as its address is made there.
        act: what is done on the page until it is in that state.
        status: of the answer that opens it.
        is_small: whether it is among the few that every test run looks at.
    """

    name: str
    who: Who
    path: Callable[[Story], str]
    act: Callable[[Page, Story], Awaitable[None]] | None = None
    status: int = 200
    is_small: bool = False

    async def open(self, page: Page, story: Story) -> None:
        """Come to it."""
        answer = await page.goto(self.path(story))
        assert answer is not None
        assert answer.status == self.status, (self.name, answer.status)
        if self.act is not None:
            await self.act(page, story)


def at(path: str) -> Callable[[Story], str]:
    return lambda _: path


async def asks_for_mail(page: Page, story: Story) -> None:
    await page.locator("form[action='/sign-in'] input[name=email]").fill("nobody.known@example.com")
    await page.locator("form[action='/sign-in'] button").click()
    await page.locator("input[name=code]").wait_for()


async def types_a_wrong_code(page: Page, story: Story) -> None:
    await asks_for_mail(page, story)
    await page.locator("input[name=code]").fill("00000000")
    await page.locator("form:has(input[name=code]) button").click()
    await page.locator("[role=alert]").wait_for()


async def has_no_name(page: Page, story: Story) -> None:
    await page.locator("form[action='/register'] input[name=name]").fill("\u200b")
    await page.locator("form[action='/register'] input[name=email]").fill("flo@example.com")
    await page.locator("form[action='/register'] button").click()
    await page.locator("[role=alert]").wait_for()


async def presses(page: Page, story: Story) -> None:
    await page.locator("main form button").first.click()
    await page.locator("[role=alert]").wait_for()


async def sends_nothing(page: Page, story: Story) -> None:
    await page.locator("textarea[name=body]").first.fill("   ")
    await page.locator("form:has(textarea[name=body])").first.evaluate("form => form.requestSubmit()")
    await page.locator("[role=alert]").first.wait_for()


async def saves_nothing(page: Page, story: Story) -> None:
    await page.locator("#body").fill("   ")
    await page.locator(".steps [value=save]").click()
    await page.locator("[role=alert]").wait_for()


async def comes_too_late(page: Page, story: Story) -> None:
    change = {"excerpt": f"Changed meanwhile, at {time.time()}."}
    changed = await story.client.call("PATCH", f"/v1/posts/{story.draft['id']}", change, who=story.people["ada"])
    assert changed.status == 200, changed.body
    await page.locator("#body").fill("Mine.")
    await page.locator(".steps [value=save]").click()
    await page.locator("#stored-title").wait_for()


async def opens_all(page: Page, story: Story) -> None:
    for summary in await page.locator(".more-fields > summary").all():
        await summary.click()


async def previews(page: Page, story: Story) -> None:
    await page.get_by_role("tab").last.click()
    await page.locator("#panel-preview p").first.wait_for()


async def makes_a_feed(page: Page, story: Story) -> None:
    await page.locator("form[action='/me/feed'] button").click()
    await page.locator("#feed").wait_for()


async def asks_to_take_a_text_away(page: Page, story: Story) -> None:
    await page.locator(".blank > summary").first.click()
    await page.locator(".blank button").first.wait_for()


async def previews_a_reply(page: Page, story: Story) -> None:
    await page.locator("#reply").fill("> Letters wait.\n\nThey do, and *so* do I.")
    await page.locator("button[name=preview]").click()
    await page.locator(".preview em").wait_for()


async def decides(page: Page, story: Story) -> None:
    """Hold a comment that is there, and approve it: so nothing is another one afterwards."""
    comment = story.comments[8]["id"]
    held = await story.client.call("POST", f"/v1/comments/{comment}/hold", who=story.people["ada"])
    assert held.status == 200, held.body
    await page.reload()
    await page.locator(f"#c-{comment} [value^=approve]").click()
    await page.locator("#decided").wait_for()


async def chooses_when_the_session_is_over(page: Page, story: Story) -> None:
    """Choose all that can be chosen, and send it without a cookie."""
    for choice in await page.locator("main form :is([type=checkbox][name], [type=radio])").all():
        await choice.check()
    await page.context.clear_cookies()
    await page.locator("main form button:not([value*=' '])").first.click()
    await page.locator("[role=alert]").wait_for()


async def deletes_an_account(page: Page, story: Story) -> None:
    """Register somebody who leaves again."""
    email, sink = f"gone.{uuid4().hex[:8]}@example.com", story.client.sink
    await page.locator("form[action='/register'] input[name=name]").fill("Gone")
    await page.locator("form[action='/register'] input[name=email]").fill(email)
    await page.locator("form[action='/register'] button").click()
    await eventually(lambda: any(LINK.search(mail.text) for mail in sink.to(email)), timeout=30)
    link = next(match for mail in sink.to(email) if (match := LINK.search(mail.text)))
    await page.goto(link[0])
    await page.locator("main form button").click()
    await page.locator(".me").wait_for()
    await page.goto("/me")
    await page.locator("form[action='/me/delete'] [name=sure]").check()
    await page.locator("form[action='/me/delete'] button").click()
    await page.wait_for_url("**/me/delete")


async def signs_out_as_somebody_else(page: Page, story: Story) -> None:
    opener = page.locator("form[action='/sign-out'] [name=for]")
    await opener.evaluate("(field, id) => { field.value = id }", story.people["eve"].id)
    await page.locator("form[action='/sign-out'] button").click()
    await page.locator("#sign-out-error").wait_for()


def _comment(number: int) -> Callable[[Story], str]:
    return lambda story: f"{story.path}?comment={story.comments[number]['id']}#c-{story.comments[number]['id']}"


VIEWS = (
    View("front", "stranger", at("/")),
    View("front-author", "ada", at("/"), is_small=True),
    View("tags", "stranger", at("/tags")),
    View("tag", "stranger", at("/tags/garden"), is_small=True),
    View("tag-unknown", "stranger", at("/tags/nothing-has-it"), status=404),
    View("feed", "stranger", at("/feed")),
    View("feed-of-a-tag", "stranger", at("/tags/garden/feed")),
    View("person-author", "stranger", lambda story: f"/people/{story.people['ada'].id}", is_small=True),
    View("person-reader", "ben", lambda story: f"/people/{story.people['ben'].id}"),
    View("post", "stranger", lambda story: story.path),
    View("post-comment-named", "stranger", _comment(6)),
    View("post-reader", "ben", lambda story: story.path, is_small=True),
    View("post-author", "ada", lambda story: story.path),
    View("post-reply", "ben", lambda story: f"{story.path}?reply_to={story.comments[9]['id']}"),
    View("post-quote", "ben", lambda story: f"{story.path}?quote={story.comments[7]['id']}"),
    View("post-preview", "ben", lambda story: story.path, previews_a_reply),
    View("comment-edit", "ben", lambda story: f"{story.path}/comments/{story.comments[0]['id']}/edit", is_small=True),
    View("comment-remove", "ben", lambda story: f"{story.path}/comments/{story.comments[0]['id']}/remove"),
    View("changes", "stranger", lambda story: f"{story.path}/changes"),
    View("changes-author", "ada", lambda story: f"{story.path}/changes", asks_to_take_a_text_away, is_small=True),
    View("changes-missing", "stranger", lambda story: f"{story.path}/changes?to=99", status=404),
    View("post-refused", "ben", lambda story: story.path, sends_nothing),
    View("post-closed", "ben", lambda story: f"/posts/{story.closed['slug']}"),
    View("post-right-to-left", "ada", lambda story: f"/posts/{story.rtl['slug']}"),
    View("post-draft", "ada", lambda story: f"/posts/{story.draft['slug']}"),
    View("page", "stranger", lambda story: f"/posts/{story.page['slug']}"),
    View("write", "ada", at("/write"), is_small=True),
    View("write-refused", "ada", lambda story: f"/posts/{story.draft['slug']}/edit", saves_nothing),
    View("write-stale", "ada", lambda story: f"/posts/{story.draft['slug']}/edit", comes_too_late),
    View("write-all-fields", "ada", at("/write?kind=page"), opens_all),
    View("edit", "ada", lambda story: f"{story.path}/edit", opens_all),
    View("edit-previewed", "ada", lambda story: f"{story.path}/edit", previews),
    View("delete-draft", "ada", lambda story: f"/posts/{story.draft['slug']}/delete"),
    View("my-posts-drafts", "ada", at("/me/posts")),
    View("my-posts", "ada", at("/me/posts?status=published")),
    View("my-posts-empty", "ada", at("/me/posts?status=withdrawn")),
    View("moderate", "ada", at("/moderate"), is_small=True),
    View("moderate-decided", "ada", at("/moderate"), decides),
    View("moderate-signed-out", "ada", at("/moderate"), chooses_when_the_session_is_over),
    View("moderate-removed", "ada", at("/moderate?list=removed")),
    View("moderate-forbidden", "ben", at("/moderate"), status=403),
    View("notifications", "ben", at("/me/notifications"), is_small=True),
    View("notifications-empty", "eve", at("/me/notifications")),
    View("why", "ben", lambda story: f"/me/notifications/{story.comments[1]['id']}"),
    View("mail", "ada", at("/me/mail")),
    View("mail-signed-out", "ada", at("/me/mail"), chooses_when_the_session_is_over),
    View("account", "ben", at("/me"), is_small=True),
    View("account-feed", "eve", at("/me"), makes_a_feed),
    View("account-deleted", "stranger", at("/sign-in"), deletes_an_account),
    View("sessions", "ben", at("/me/sessions")),
    View("my-comments", "ben", at("/me/comments")),
    View("my-comments-empty", "eve", at("/me/comments")),
    View("sign-in", "stranger", at("/sign-in"), is_small=True),
    View("sign-in-refused", "stranger", at("/sign-in"), has_no_name),
    View("check-mail", "stranger", at("/sign-in"), asks_for_mail),
    View("check-mail-refused", "stranger", at("/sign-in"), types_a_wrong_code),
    View("link", "stranger", at("/sign-in/" + "x" * 43)),
    View("link-unknown", "stranger", at("/sign-in/" + "x" * 43), presses),
    View("sign-out-refused", "ben", at("/"), signs_out_as_somebody_else),
    View("signed-out", "stranger", at("/me/notifications"), status=401),
    View("not-found", "stranger", at("/no-such-page"), status=404, is_small=True),
    View("mail-choices", "stranger", lambda story: f"/mail/{story.mail_token}"),
    View("mail-choices-unknown", "stranger", at("/mail/" + "x" * 43), status=404),
    View("unsubscribe", "stranger", lambda story: f"/unsubscribe/{story.mail_token}"),
    View("imprint", "stranger", at("/imprint")),
    View("privacy", "stranger", at("/privacy")),
    View("problems", "stranger", at("/problems")),
    View("docs", "stranger", at("/docs")),
)
