"""What `make demo` tells: its people, its posts, and what is said below them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from deploy.local import drawings

Decision = Literal["approve", "reject"]


@dataclass(frozen=True)
class Somebody:
    """A person of the story.

    Attributes:
        about: what they say of themselves.
        draw: draws the picture of their face; who has none gets the one that the site makes.
    """

    name: str
    email: str
    about: str | None = None
    draw: Callable[[], bytes] | None = None


@dataclass(frozen=True)
class Said:
    """A comment.

    Attributes:
        answers: its place among the comments of its post is that of what it answers; None for one on the post.
        decision: what the moderator does with it where comments wait for approval.
    """

    who: Somebody
    text: str
    answers: int | None = None
    decision: Decision | None = None


@dataclass(frozen=True)
class Edit:
    """What becomes of a text, and what readers are told of it."""

    old: str
    new: str
    note: str


@dataclass(frozen=True)
class Writing:
    """A post or a page of Ada's.

    Attributes:
        body: in Markdown; `PICTURE` in it is the address of the picture, which is the cover of the post otherwise.
        edit: what becomes of it after the first comment.
    """

    slug: str
    title: str
    body: str
    kind: Literal["post", "page"] = "post"
    tags: tuple[str, ...] = ()
    excerpt: str | None = None
    draw: Callable[[], bytes] | None = None
    discussion: Literal["open", "held"] = "open"
    comments: tuple[Said, ...] = ()
    edit: Edit | None = None


ADA = Somebody(
    "Ada",
    "ada@letters.example",
    "Writes letters, and about them. Answers most of them.",
    partial(drawings.face, (92, 56, 36), (238, 200, 170), (70, 110, 150), (200, 214, 222), long=True),
)
BEN = Somebody(
    "Ben",
    "ben@letters.example",
    "Reads with a pencil in his hand.",
    partial(drawings.face, (40, 36, 38), (172, 120, 86), (196, 140, 70), (226, 206, 180), glasses=True),
)
CLEO = Somebody(
    "Cleo",
    "cleo@letters.example",
    "Asks one question more than you expect.",
    partial(drawings.face, (200, 150, 80), (246, 214, 190), (120, 84, 130), (214, 204, 226), long=True, glasses=True),
)
DARIO = Somebody(
    "Dario",
    "dario@letters.example",
    "Retired postman, eleven thousand doors.",
    partial(drawings.face, (120, 120, 124), (224, 180, 148), (80, 120, 96), (206, 222, 204)),
)
MAX = Somebody("Max", "max@letters.example")
PEOPLE = (ADA, BEN, CLEO, DARIO, MAX)

ABOUT = Writing(
    slug="about-this-demo",
    title="About this demo",
    kind="page",
    body="""This site was written by `make demo`. Ada, Ben, Cleo and Dario do not exist, and a program drew their faces;
everything else is real: the posts are in a database, the mails went through a mail server, and you can answer.

## What you can do here

- Answer somebody. You register with a name and an address, and press the link in the mail; there are no passwords.
- Sign in as Ada, whose address is `ada@letters.example`. She may write, and she moderates.
- Read the mails of all five of them in the mailbox, which `make up` names.
""",
)

LETTERS = Writing(
    slug="on-answering-letters",
    title="On answering letters",
    tags=("Letters", "Habits"),
    excerpt="Eleven letters lie in my drawer, and each of them deserves an hour. When did you last answer one?",
    draw=drawings.letter,
    body="""When did you last *answer* a letter? Not a message: a letter, with a stamp on it, and with a person at its
other end who does not know for weeks whether it arrived.

Eleven of them lie in my drawer. Each deserves an hour, and none of them gets it, because an hour is exactly what I
never have at once. So I made myself three rules:

1. Answer the *oldest* first. The newest is the easiest, and it can wait longest.
2. Begin with what they wrote, not with what you did.
3. End before the page does. White paper is an invitation.

> A letter that asks nothing needs no answer, and a letter that needs no answer is a leaflet.

Which rules do you have?
""",
    edit=Edit(
        "Eleven of them lie in my drawer.",
        "Nine of them lie in my drawer; there were eleven when I began to write this.",
        "two of the eleven are answered: thank you for the push",
    ),
    comments=(
        Said(BEN, "I answered one last week, by hand. It took an hour and was worth it."),
        Said(CLEO, "By hand! What did you write with?", answers=0),
        Said(BEN, "A pencil. Letters should allow for doubts.", answers=1),
        Said(
            DARIO,
            "> White paper is an invitation.\n\nAs one who carried them: it is also lighter. But your rule 1 is cruel. "
            "The *newest* is the one that somebody is waiting for at the door.",
        ),
        Said(ADA, "Fair. Then the rule is: the oldest first, and the newest before that.", answers=3),
    ),
)  # fmt: skip

INK = Writing(
    slug="ink-that-survives-rain",
    title="Ink that survives rain",
    tags=("Letters", "Tools"),
    excerpt="Five inks, one sentence, and a minute below the tap. The cheapest one wins.",
    discussion="held",
    body="""The postman’s bag is waterproof. The hand that takes the letter out of it is not.

I wrote the same sentence with five inks, let them dry for a day, and held the pages under the tap:

| ink | after ten seconds | after a minute |
|---|---|---|
| washable blue | a cloud | white paper |
| iron gall | as before | as before, a little browner |
| gel | as before | edges run |
| ballpoint | as before | as before |
| pencil | as before | as before |

The pencil wins, and costs nothing. Comments on this post wait for approval, because every post about ink attracts those
who sell it.
""",
    comments=(
        Said(CLEO, "Did you try it with the address on the *envelope*? That paper is glossier.", decision="approve"),
        Said(MAX, "BEST INK 70 % OFF only today at ink-bargain.example !!!", decision="reject"),
        Said(DARIO, "Wax crayon. Ask any child who ever wrote to a lighthouse."),
    ),
)

BEANS = Writing(
    slug="what-beans-know-about-waiting",
    title="What beans know about waiting",
    tags=("Garden", "Habits"),
    excerpt="They teach what no calendar does: you cannot hurry them, and you cannot answer them.",
    draw=drawings.beans,
    body="""Sow them in May, and not on the first warm day of April: beans that freeze once sulk all summer.

They teach what no calendar does. You cannot hurry them, you cannot answer them, and looking at them twice a day helps
nobody but you. In *July* they suddenly write back, all at once, and then it is you who does not find the time.
""",
    comments=(
        Said(CLEO, "Bush beans or runners? With runners the waiting at least has a direction."),
        Said(ADA, "Runners, on strings. The picture flatters them.", answers=0),
    ),
)

BOOKS = Writing(
    slug="read-in-november",
    title="Read in November",
    tags=("Books",),
    excerpt="Three books of letters, and one that should have been letters.",
    draw=drawings.shelf,
    body="""Three books of letters, and one that should have been letters.

![Two shelves of books in many colours](PICTURE)

What they share is that nobody in them expects an answer by the evening. I kept count: between question and answer lie
nine days on the average, and the longest silence is four years. It ends with the words *As I was about to say*.
""",
    comments=(Said(BEN, "Four years! And I worry after nine days. Which book is that?"),),
)

WRITINGS = (ABOUT, BOOKS, BEANS, INK, LETTERS)  # the last one is on top of the site
