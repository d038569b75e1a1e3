"""A story that leaves something to look at on every page: a post that is discussed, and people who come and go."""

import io
import re
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from PIL import Image, ImageDraw, ImageFilter

from tests.client import Client, Person
from tests.waiting import eventually

Json = dict[str, Any]

STOP = re.compile(r"/unsubscribe/([^/>]+)>")

LETTERS = """\
When did you last *answer* a letter? Not a message: a letter, on paper, with a stamp that somebody
had to lick.

I kept the ones I got in a shoebox. Last winter I took them out, **forty-one** of them, and answered every one. Some
were older than ten years. Here is what I learnt.

# Nobody minds that it is late

Not one of the answers began with a reproach. Most began like this:

> I had forgotten that I wrote to you, and then I read my own words in yours, and remembered the whole afternoon.

A letter waits. It does not count the days, it has no two blue ticks, and it does not tell anybody that you have
read it.

# What one needs

1. A pencil. Letters should allow for doubts.
2. Paper that takes the pencil.
3. An hour, which is
   - no more than an evening with the telephone,
   - and no less.

The address I wrote by hand, except once: a small program put them all into the right order for the postman's round.

```python
def by_street(letters):
    return sorted(letters, key=lambda letter: (letter.street, letter.number, letter.floor, letter.name_on_the_door))
```

| answered | how old |
|---|--:|
| 12 | under a year |
| 20 | one to five years |
| 9 | older |

There is more about pencils in [an old post](https://example.org/pencils).[^1]

[^1]: It is about graphite, mostly.
"""
HEBREW = "גם אני כותב ביד. העיפרון טוב יותר, כי אפשר **למחוק** אותו."
COMMENTS = (
    # who, what, which one is answered
    ("ben", "Last week, by hand. It took an hour and was worth it.", None),
    ("cleo", "By hand! What did you write with?", 0),
    ("ben", "A pencil. Letters should allow for doubts.", 1),
    ("ada", "That sentence is in the post now. Thank you, Ben.", 2),
    ("cleo", "> Letters should allow for doubts.\n\nAnd their writers, too.", 3),
    ("dov", HEBREW, 4),
    ("ben", "I had to look that up, and I agree: one *can* erase it.", 5),
    ("cleo", "Nobody minds that it is late? My aunt did. She sent mine back, with the mistakes underlined.", None),
    ("ada", "Then she read it, at least.", 7),
    ("dov", "Is the program somewhere? I have `letters`, but no order in them.", None),
    ("ben", "This one I regret, and take back.", None),
    ("ada", "No harm done.", 10),
)


@dataclass
class Story:
    """What the story left.

    Attributes:
        post, closed, rtl, draft, page: posts of these kinds.
        comments: those under `post`, in the order of `COMMENTS`.
        held: a comment that waits for a moderator.
        mail_token: of a mail to Ben, by which he stops them or chooses.
    """

    client: Client
    people: dict[str, Person]
    post: Json
    closed: Json
    rtl: Json
    draft: Json
    page: Json
    comments: list[Json]
    held: Json
    mail_token: str

    @property
    def path(self) -> str:
        return f"/posts/{self.post['slug']}"


async def told(client: Client, ada: Person, unique: str) -> Story:
    """Play the story; Ada is an admin.

    Args:
        unique: what makes addresses different from those of another run on the same system.
    """
    people = {"ada": ada}
    for name in ("Ben", "Cleo", "Dov", "Eve"):
        people[name.lower()] = await client.sign_in(name, f"{name.lower()}.{unique}@example.com")
    await _said(client, "PATCH", "/v1/me", ada, {"about": "Writes letters, and about them. Answers all of them, late."})
    await _uploaded(client, "PUT", "/v1/me/avatar", people["cleo"], picture((256, 256), blurred=False))
    cover = await _uploaded(client, "POST", "/v1/images", ada, picture((1200, 500)))
    page = await client.publish(ada, "About", body="Who writes here, and why.", kind="page")
    closed = await client.publish(ada, "What the frost left", body="Not much, but the kale.", tags=["Garden"])
    rtl = await client.publish(ada, "על מכתבים", body=HEBREW + "\n\n> " + HEBREW, tags=["מכתבים"])
    post = await client.publish(ada, "On answering letters", body=LETTERS, tags=["Letters", "Garden"],
                                cover=cover["id"], slug=f"on-answering-letters-{unique}")  # fmt: skip
    comments: list[Json] = []
    for who, text, answered in COMMENTS:
        parent = comments[answered]["id"] if answered is not None else None
        comments.append(await client.comment(people[who], post["id"], text, parent))
    await _said(client, "DELETE", f"/v1/comments/{comments[10]['id']}", people["ben"])
    edit = {"body": LETTERS.replace("ten years", "twelve years"), "edit_note": "twelve years, not ten"}
    await _said(client, "PATCH", f"/v1/posts/{post['id']}", ada, edit)
    for number in range(6):
        await client.comment(people["cleo"], closed["id"], f"Remark number {number + 1} about the frost.")
    await _said(client, "PATCH", f"/v1/posts/{closed['id']}", ada, {"discussion": "closed"})
    await _said(client, "PATCH", f"/v1/posts/{rtl['id']}", ada, {"discussion": "held"})
    held = await _held(client, people["cleo"], rtl["id"])
    draft = (await _said(client, "POST", "/v1/posts", ada, {"title": "Not yet", "body": "*Soon.*"})).json

    async def notified() -> bool:
        found = await client.call("GET", "/v1/me/notifications", who=people["ben"])
        return len(found.json["items"]) >= 2

    await eventually(notified, timeout=30)

    def tokens() -> list[str]:
        mails = client.sink.to(people["ben"].email)
        return [found[1] for mail in mails if (found := STOP.search(str(mail.message["List-Unsubscribe"])))]

    await eventually(tokens, timeout=30)
    return Story(client, people, post, closed, rtl, draft, page, comments, held, tokens()[0])


async def _held(client: Client, who: Person, post_id: str) -> Json:
    """Return a comment that waits; comments hears of the discussion's state a moment after posts."""
    found: list[Json] = []

    async def waits() -> bool:
        found.append(await client.comment(who, post_id, f"May I say something? {uuid4().hex[:6]}"))
        return bool(found[-1]["state"] == "held")

    await eventually(waits, timeout=30)
    return found[-1]


async def _said(client: Client, method: str, path: str, who: Person, body: object = None) -> Any:
    answer = await client.call(method, path, body, who=who)
    assert answer.status < 300, (method, path, answer.body)
    return answer


async def _uploaded(client: Client, method: str, path: str, who: Person, content: bytes) -> Json:
    answer = await client.call(method, path, who=who, data=content, headers={"Content-Type": "image/png"})
    assert answer.status in (200, 201), answer.body
    uploaded: Json = answer.json
    return uploaded


def picture(size: tuple[int, int], *, blurred: bool = True) -> bytes:
    """Draw an evening over hills, as a PNG."""
    width, height = size
    image = Image.new("RGB", size)
    draw = ImageDraw.Draw(image)
    for y in range(height):
        share = y / height
        draw.line([(0, y), (width, y)], fill=(int(250 - 60 * share), int(205 - 70 * share), int(150 + 20 * share)))
    radius = height // 6
    draw.ellipse([width // 3 - radius, height // 3 - radius, width // 3 + radius, height // 3 + radius], fill="#fff2c9")
    for number, colour in enumerate(("#8a7a8c", "#5f6277", "#3b4a57")):
        top = height * (5 + number) // 9
        draw.ellipse([-width // 2 + number * width // 4, top, width + number * width // 5, height * 2], fill=colour)
    if blurred:
        image = image.filter(ImageFilter.GaussianBlur(1.5))
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()
