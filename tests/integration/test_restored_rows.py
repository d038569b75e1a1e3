"""What a restored database does again, with the real history of its topic: what was taken away since stays away."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from services.chassis.backup.restore import CatchUp, RestoreResult
from services.chassis.messaging.cloudevents import to_headers, to_key
from services.chassis.messaging.history import read_history
from services.chassis.messaging.topics import create_topics
from services.contracts.comments import (
    CommentApproved,
    CommentEdited,
    CommentFact,
    CommentHeld,
    CommentPosted,
    CommentRejected,
    CommentRemoved,
    CommentRestored,
    CommentStated,
)
from services.contracts.event import Envelope, Event
from services.contracts.notify import (
    AddressSuppressed,
    FollowChanged,
    MailChoiceChanged,
    MailScope,
    ModerationMailEnded,
    NotificationFailed,
    NotificationSent,
    NotificationSkipped,
)
from services.contracts.people import (
    PersonConfirmed,
    PersonErased,
    PersonFact,
    PersonRenamed,
    PersonRolesChanged,
    PersonStated,
)
from services.contracts.posts import (
    PostDeleted,
    PostEdited,
    PostFact,
    PostPublished,
    PostRevisionBlanked,
    PostWithdrawn,
)
from services.contracts.topics import EVENT_TOPICS, POSTS
from services.posts.domain.post import id_of_text
from tests.integration.backup_harness import NewTrial, Trial, new_trial

__all__ = ["new_trial"]  # the fixture

NOW = datetime.now(UTC)
SOMEBODY = uuid4()


async def say(trial: Trial, *events: Event, epoch: int = 0, at: datetime | None = None) -> None:
    """Write events to the topic of the service, as its relay does."""
    topic = next(topic for topic in EVENT_TOPICS if topic.name == f"{trial.service}.events")
    name = trial.settings.kafka_prefix + topic.name
    await create_topics(trial.settings.kafka_bootstrap_servers, trial.settings.kafka_prefix, topics=[topic])
    async with AIOKafkaProducer(bootstrap_servers=trial.settings.kafka_bootstrap_servers) as producer:
        for event in events:
            data = event.model_dump_json().encode()
            source = f"/services/{trial.service}"
            envelope = Envelope(uuid4(), source, event.type, event.subject, NOW, event.key, data, epoch=epoch)
            when = None if at is None else int(at.timestamp() * 1000)
            headers = to_headers(envelope)
            await producer.send_and_wait(name, data, to_key(envelope), headers=headers, timestamp_ms=when)


async def put_back(trial: Trial, back: Trial, folder: Path) -> RestoreResult:
    """Restore as the program of the service does."""
    main: Any = import_module(f"services.{trial.service}.__main__")
    catch_up: CatchUp[Any] = main.CATCH_UP
    return await back.put_back(folder, catch_up=catch_up)


async def rows(trial: Trial, sql: str) -> list[tuple[Any, ...]]:
    async with trial.connected() as connection:
        return [tuple(row) for row in await connection.fetch(sql)]


def done(found: RestoreResult) -> dict[str, int]:
    return {name: count for name, count in found.counters.items() if count}


EVENTS = "select split_part(type, '.', 4), epoch > 1000000000 from outbox where published_at is null order by id"


def post(kind: type[PostFact], post_id: UUID, version: int, status: str, **fields: Any) -> PostFact:
    given: dict[str, Any] = {"discussion": "open", "revision": 1} | fields
    return kind(
        post_id=post_id, author_id=SOMEBODY, kind="post", status=status, version=version, occurred_at=NOW, **given
    )


ADD_POST = """
insert into posts (id, kind, slug, title, body, format, body_html, renderer_version, excerpt, author_id, status,
                   discussion, created_at, published_at, revision, version, imported)
values ($1, 'post', $2, 't', 'b', 'markdown', '<p>b</p>', 1, 'e', $3, $4, 'open', now(),
        case when $4 <> 'draft' then now() end, 1, $5, false)
"""


async def add_post(trial: Trial, slug: str, status: str, version: int = 1) -> UUID:
    made = uuid4()
    async with trial.connected() as connection:
        await connection.execute(ADD_POST, made, slug, SOMEBODY, status, version)
    return made


async def test_posts_are_what_they_were_but_for_texts_that_are_lost(new_trial: NewTrial, tmp_path: Path) -> None:
    trial, back = await new_trial("posts"), await new_trial("posts", empty=True)
    names = ("withdrawn", "back-again", "closed", "same", "edited")
    shown = {name: await add_post(trial, name, "published", 2) for name in names}
    draft, hidden = await add_post(trial, "draft", "draft"), await add_post(trial, "hidden", "withdrawn", 3)
    deleted = await add_post(trial, "deleted", "draft")
    redrafted = await add_post(trial, "redrafted", "draft")  # published since, with another text
    rewritten = await add_post(trial, "rewritten", "draft")  # the same, but under the number that drafts have
    as_it_was = await add_post(trial, "as-it-was", "draft")
    async with trial.connected() as connection:
        await connection.execute(ADD_ANSWER, SOMEBODY, "of the deleted", deleted)
        await connection.execute(ADD_ANSWER, SOMEBODY, "of another", draft)
    await trial.take(tmp_path)
    await say(
        trial,
        post(PostWithdrawn, shown["withdrawn"], 3, "withdrawn"),
        post(PostPublished, shown["back-again"], 4, "published"),
        post(PostWithdrawn, shown["back-again"], 3, "withdrawn"),  # read later, said before
        post(PostEdited, shown["closed"], 3, "published", discussion="closed"),
        post(PostPublished, shown["same"], 2, "published"),
        post(PostEdited, shown["edited"], 3, "published", revision=2),
        post(PostPublished, draft, 2, "published"),
        post(PostPublished, hidden, 4, "published"),
        post(PostPublished, redrafted, 3, "published", revision=2),
        post(PostPublished, rewritten, 3, "published", text_id=uuid4()),
        post(PostPublished, as_it_was, 2, "published", text_id=id_of_text(as_it_was, 1, None)),
        post(PostPublished, uuid4(), 1, "published"),
        post(PostDeleted, deleted, 2, "draft"),
        post(PostDeleted, uuid4(), 2, "draft"),  # written and deleted since: nothing is lost
    )
    found = await put_back(trial, back, tmp_path)
    assert done(found) == {
        "posts withdrawn again": 1,
        "posts published again": 3,
        "discussions set again": 1,
        "drafts deleted again": 1,
        "posts lost": 1,
        "edits lost": 3,
    }
    states = dict(await rows(back, "select slug, status || ' ' || discussion || ' ' || version from posts"))
    assert states == {
        "withdrawn": "withdrawn open 3",
        "back-again": "published open 2",
        "closed": "published closed 3",
        "same": "published open 2",
        "edited": "published open 2",
        "draft": "published open 2",
        "hidden": "published open 4",
        "redrafted": "draft open 1",
        "rewritten": "draft open 1",
        "as-it-was": "published open 2",
    }
    assert sorted(await rows(back, EVENTS)) == [
        ("deleted", True),
        ("edited", True),
        *[("published", True)] * 3,
        ("withdrawn", True),
    ]
    answers = dict(await rows(back, "select key, representation ->> 'body' from idempotency_keys"))
    assert (answers["of the deleted"], answers["of another"] is None) == (None, False)
    assert (await put_back(trial, back, tmp_path)).already


async def test_a_schedule_is_lost_where_anything_was_said_since(new_trial: NewTrial, tmp_path: Path) -> None:
    """Perhaps its time was taken back, or another text was to be published; what nobody has touched is published."""
    trial, back = await new_trial("posts"), await new_trial("posts", empty=True)
    names = ("untouched", "edited", "rewritten", "published", "withdrawn")
    planned = {name: await add_post(trial, name, "draft") for name in names}
    async with trial.connected() as connection:
        await connection.execute("update posts set publish_at = '2031-01-01', scheduled_by = author_id")
    await trial.take(tmp_path)
    await say(
        trial,
        post(PostEdited, planned["edited"], 2, "draft"),
        post(PostPublished, planned["rewritten"], 3, "published", revision=2),
        post(PostPublished, planned["published"], 2, "published"),
        post(PostWithdrawn, planned["withdrawn"], 3, "withdrawn"),
    )
    found = await put_back(trial, back, tmp_path)
    assert done(found) == {"schedules lost": 3, "posts published again": 1, "edits lost": 1}
    left = await rows(back, "select slug, status, publish_at is null, scheduled_by is null, version from posts")
    assert sorted(left) == [
        ("edited", "draft", True, True, 2),
        ("published", "published", True, True, 2),
        ("rewritten", "draft", True, True, 2),
        ("untouched", "draft", False, False, 1),
        ("withdrawn", "draft", True, True, 2),
    ]


ADD_REVISION = """
insert into revisions (post_id, revision, title, body, edit_note, created_at, text_id)
values ($1, $2, 't', 'private', 'note', now(), $3)
"""


async def test_texts_that_were_taken_away_stay_away_whatever_their_numbers(new_trial: NewTrial, tmp_path: Path) -> None:
    trial, back = await new_trial("posts"), await new_trial("posts", empty=True)
    edited = await add_post(trial, "edited", "published", 4)
    present, never = await add_post(trial, "present", "published", 2), await add_post(trial, "never", "draft")
    ids = {number: uuid4() for number in (2, 3)}
    async with trial.connected() as connection:
        await connection.execute("update posts set revision = 3 where id = $1", edited)
        for made, number, text_id in (
            *((edited, number, ids.get(number)) for number in (1, 2, 3)),
            (present, 1, None),
            (never, 1, None),
        ):
            await connection.execute(ADD_REVISION, made, number, text_id)
        for name, made, number in (("one", edited, 1), ("two", edited, 2), ("three", edited, 3), ("new", present, 1)):
            await connection.execute(ADD_ANSWER, SOMEBODY, name, made)
            await connection.execute(
                "update idempotency_keys set representation = representation || jsonb_build_object('revision', $2::int)"
                " where key = $1",
                name,
                number,
            )
    await trial.take(tmp_path)

    def blanked(post_id: UUID, number: int, text_id: UUID) -> PostRevisionBlanked:
        return PostRevisionBlanked(post_id=post_id, text_id=text_id, revision=number, occurred_at=NOW)

    await say(
        trial,
        blanked(edited, 1, id_of_text(edited, 1, None)),
        blanked(edited, 2, ids[2]),
        blanked(edited, 3, uuid4()),  # another text, which had this number after an earlier restore
        post(PostEdited, present, 3, "published", revision=2, text_id=uuid4()),
        blanked(present, 1, id_of_text(present, 1, None)),
        blanked(uuid4(), 1, uuid4()),
    )
    await say(trial, blanked(edited, 9, uuid4()), epoch=1_700_000_000)  # a later life; what an earlier one said counts
    found = await put_back(trial, back, tmp_path)
    assert done(found) == {"edits lost": 1, "revisions blanked again": 3, "posts without their text": 1}
    kept = await rows(
        back, "select slug, r.revision from revisions r join posts p on p.id = post_id where r.body is not null"
    )
    assert sorted(kept) == [("edited", 3), ("never", 1)]
    states = await rows(back, "select slug, status, version, title || body || body_html || excerpt from posts")
    assert sorted(states) == [
        ("edited", "published", 4, "tb<p>b</p>e"),
        ("never", "draft", 1, "tb<p>b</p>e"),
        ("present", "withdrawn", 3, ""),
    ]
    answers = dict(await rows(back, "select key, representation ->> 'body' from idempotency_keys"))
    assert answers == {"one": None, "two": None, "three": "private", "new": None}
    assert await rows(back, EVENTS) == [("withdrawn", True)]


async def test_a_later_epoch_counts_more_than_a_version(new_trial: NewTrial, tmp_path: Path) -> None:
    """After an earlier restore versions were used again: the snapshot's 9 is older than the topic's 2 of that epoch."""
    trial, back = await new_trial("posts"), await new_trial("posts", empty=True)
    made = await add_post(trial, "old", "published", 9)
    await trial.take(tmp_path)
    await say(trial, post(PostWithdrawn, made, 2, "withdrawn"), epoch=1_700_000_000)
    await say(trial, post(PostPublished, made, 12, "published"))
    found = await put_back(trial, back, tmp_path)
    assert done(found) == {"posts withdrawn again": 1}
    assert found.epoch is not None
    assert found.epoch > 1_700_000_000


def comment(kind: type[CommentFact], comment_id: UUID, version: int, state: str) -> CommentFact:
    return kind(
        comment_id=comment_id,
        post_id=POST,
        post_author_id=SOMEBODY,
        parent_id=None,
        parent_author_id=None,
        depth=0,
        author_id=SOMEBODY,
        state=state,
        version=version,
        created_at=NOW,
        occurred_at=NOW,
    )


POST = uuid4()
ADD_COMMENT = """
insert into comments (id, post_id, list_id, path, depth, author_id, body, format, body_html, renderer_version, state,
                      created_at, shown)
values ($1, $2, $2, uuid_send($1), 0, $3, 'private', 'markdown', '<p>private</p>', 1, $4, now(), $4 = 'visible')
"""


# what a repeated request is answered with
ADD_ANSWER = """
insert into idempotency_keys (person_id, key, method, path, body_sha256, status, subject, representation)
values ($1, $2, 'POST', '/comments', '', 201, $3, '{"body": "private", "body_html": "<p>private</p>"}')
"""


async def test_comments_are_removed_and_held_again_and_a_deleted_text_stays_deleted(
    new_trial: NewTrial, tmp_path: Path
) -> None:
    trial, back = await new_trial("comments"), await new_trial("comments", empty=True)
    names = ("removed", "rejected", "held", "restored", "same", "stated", "approved", "reworded", "hidden", "below")
    ids = {name: uuid4() for name in names}
    before = {"approved": "held", "reworded": "held", "hidden": "removed"}
    async with trial.connected() as connection:
        await connection.execute(
            "insert into discussions (post_id, post_author_id, kind, status, discussion, version, visible_count) "
            "values ($1, $2, 'post', 'published', 'open', 1, 7)",
            POST,
            SOMEBODY,
        )
        for name, made in ids.items():
            await connection.execute(ADD_COMMENT, made, POST, SOMEBODY, before.get(name, "visible"))
            await connection.execute(ADD_ANSWER, SOMEBODY, name, made)
    await trial.take(tmp_path)
    await say(
        trial,
        comment(CommentRemoved, ids["removed"], 2, "removed"),
        comment(CommentRejected, ids["rejected"], 2, "removed"),
        comment(CommentHeld, ids["held"], 2, "held"),
        comment(CommentRemoved, ids["restored"], 2, "removed"),
        comment(CommentRestored, ids["restored"], 3, "visible"),
        comment(CommentPosted, ids["same"], 1, "visible"),
        comment(CommentRemoved, ids["stated"], 2, "removed"),
        comment(CommentApproved, ids["approved"], 2, "visible"),
        comment(CommentEdited, ids["reworded"], 2, "held"),
        comment(CommentApproved, ids["reworded"], 3, "visible"),
        comment(CommentRemoved, ids["hidden"], 2, "removed"),  # removed by a moderator before, by its author since
        comment(CommentPosted, uuid4(), 1, "visible"),
    )
    await say(trial, comment(CommentStated, ids["stated"], 2, "removed"), epoch=1_700_000_000)
    found = await put_back(trial, back, tmp_path)
    assert done(found) == {
        "comments removed again": 4,
        "comments held again": 1,
        "comments shown again": 1,
        "comments lost": 1,
        "edits lost": 1,
    }
    by_id = {row[0]: row[1:] for row in await rows(back, "select id, state, body is null, version from comments")}
    assert {name: by_id[made] for name, made in ids.items()} == {
        "removed": ("removed", True, 2),
        "rejected": ("removed", False, 2),
        "held": ("held", False, 2),
        "restored": ("visible", False, 1),
        "same": ("visible", False, 1),
        "stated": ("removed", True, 2),
        "approved": ("visible", False, 2),
        "reworded": ("held", False, 1),
        "hidden": ("removed", True, 2),
        "below": ("visible", False, 1),
    }
    assert await back.run("select visible_count from discussions") == 4
    kept = dict(await rows(back, "select key, representation ->> 'body' from idempotency_keys"))
    assert {name for name, body in kept.items() if body is None} == {"removed", "stated", "hidden"}
    assert await rows(back, EVENTS) == [("stated", True)] * 6


def person(kind: type[PersonFact], person_id: UUID, version: int, *roles: str) -> PersonFact:
    return kind(person_id=person_id, roles=roles, version=version, occurred_at=NOW)


async def test_people_stay_erased_roles_are_those_of_now_and_every_session_ends(
    new_trial: NewTrial, tmp_path: Path
) -> None:
    trial, back = await new_trial("people"), await new_trial("people", empty=True)
    names = ("erased", "stated", "revoked", "granted", "renamed", "same", "faceless", "faced")
    ids = {name: uuid4() for name in names}
    async with trial.connected() as connection:
        for name, made in ids.items():
            roles = ["author"] if name in ("revoked", "same", "erased") else []
            await connection.execute("insert into people (id, name, roles) values ($1, $2, $3)", made, name, roles)
            address = f"{name}@example.com"
            await connection.execute(
                "insert into addresses (person_id, address, lookup) values ($1, $2, $2)", made, address
            )
            await connection.execute(
                "insert into sessions (id, person_id, expires_at) values ($1, $2, now() + interval '1 day')",
                uuid4(),
                made,
            )
            if name in ("erased", "faceless", "faced"):
                await connection.execute("insert into avatars values ($1, 'd1gest', $2)", made, b"RIFF")
                await connection.execute("update people set about = 'Me' where id = $1", made)
            request = uuid4()
            await connection.execute(
                "insert into sign_in_requests (id, address, lookup) values ($1, $2, $2)", request, address
            )
            await connection.execute(
                "insert into sign_in_links (token_sha256, request_id, expires_at) "
                "values (uuid_send($1), $1, now() + interval '10 minutes')",
                request,
            )
            await connection.execute(
                "insert into hand_overs (code_sha256, person_id, challenge, expires_at) "
                "values (uuid_send($1), $2, '', now() + interval '1 minute')",
                request,
                made,
            )
    await trial.take(tmp_path)
    await say(
        trial,
        person(PersonErased, ids["erased"], 2),
        person(PersonErased, ids["stated"], 2),
        person(PersonRolesChanged, ids["revoked"], 2),
        person(PersonRolesChanged, ids["granted"], 2, "moderator"),
        person(PersonRenamed, ids["renamed"], 2),
        person(PersonConfirmed, ids["same"], 1, "author"),
        person(PersonConfirmed, uuid4(), 1),
        person(PersonRenamed, ids["faceless"], 2).model_copy(update={"has_picture": False, "has_about": False}),
        person(PersonRenamed, ids["faced"], 2).model_copy(update={"has_picture": True, "has_about": True}),
    )
    await say(trial, person(PersonStated, ids["stated"], 2), epoch=1_700_000_000)
    found = await put_back(trial, back, tmp_path)
    assert done(found) == {
        "sessions ended": 8,
        "requests for links ended": 8,
        "people erased again": 2,
        "roles set again": 2,
        "people lost": 1,
        "names lost": 3,
        "pictures taken away again": 1,
        "self-descriptions taken away again": 1,
    }
    known = {row[0]: row[1:] for row in await rows(back, "select id, name, roles, erased_at is null from people")}
    assert known[ids["erased"]] == known[ids["stated"]] == (None, [], False)
    assert known[ids["revoked"]] == ("revoked", [], True)
    assert known[ids["granted"]] == ("granted", ["moderator"], True)
    assert known[ids["same"]] == ("same", ["author"], True)
    assert await back.run("select count(*) from addresses where address like 'erased%' or address like 'stated%'") == 0
    assert await back.run("select count(*) from sessions where ended_at is null") == 0
    assert await back.run("select count(*) from sign_in_links where expires_at > now()") == 0
    assert await back.run("select (select count(*) from sign_in_requests) + (select count(*) from hand_overs)") == 0
    told = "select count(*) from sessions where ended_at > now() - interval '1 minute'"  # gateways ask for these
    assert await back.run(told) == 8
    expected = [("erased", True)] * 2 + [("renamed", True)] * 2 + [("roles-changed", True)] * 2
    assert sorted(await rows(back, EVENTS)) == expected
    assert await rows(back, "select person_id, content from avatars") == [(ids["faced"], b"RIFF")]
    assert await rows(back, "select id from people where about is not null") == [(ids["faced"],)]


ADD_NOTIFICATION = """
insert into notifications (person_id, comment_id, id, post_id, reasons, state, why, announced, due_at, sent_at, frozen)
values ($1, $2, $3, $4, array['reply_to_you'], $5, null, true, case when $5 = 'waiting' then now() end,
        case when $5 = 'sent' then now() end, case when $5 = 'waiting' then 'bytes'::bytea end)
"""


async def add_notifications(trial: Trial, names: Sequence[str]) -> dict[str, UUID]:
    about = uuid4()
    ids = {name: uuid4() for name in names}
    async with trial.connected() as connection:
        await connection.execute(
            "insert into comments "
            "(comment_id, post_id, post_author_id, author_id, state, imported, version, created_at) "
            "values ($1, $1, $1, $1, 'visible', false, 1, now())",
            about,
        )
        for name, made in ids.items():
            state = "sent" if name == "was sent" else "waiting"
            await connection.execute(ADD_NOTIFICATION, uuid4(), about, made, POST, state)
        if "was skipped" in ids:
            skip = "update notifications set state = 'skipped', why = 'comment_held', due_at = null, frozen = null "
            await connection.execute(skip + "where id = $1", ids["was skipped"])
    return ids


async def test_what_waited_ends_as_the_topic_says_and_whoever_wants_no_mail_gets_none(
    new_trial: NewTrial, tmp_path: Path
) -> None:
    trial, back = await new_trial("notify"), await new_trial("notify", empty=True)
    names = ("was sent", "sent", "skipped", "failed", "unknown", "was skipped", "moderators were told")
    ids = await add_notifications(trial, names)
    stays, left, came_back, bad = uuid4(), uuid4(), uuid4(), uuid4()
    ended_follow, new_follow = uuid4(), uuid4()
    await trial.run(
        f"update notifications set moderation = true where id = '{ids['moderators were told']}'",
        f"insert into mail_choices (person_id, notifications) values ('{stays}', false), ('{came_back}', false)",
        f"insert into feeds (person_id, token_sha256) values ('{stays}', 'hash')",
        f"insert into follows (id, person_id, post_id, follows) values ('{ended_follow}', '{stays}', '{POST}', true)",
    )
    await trial.take(tmp_path)

    def ended(kind: type[Any], name: str, why: str | None = None) -> Event:
        fields = {"person_id": SOMEBODY, "comment_id": POST, "post_id": POST, "reasons": ("reply_to_you",)}
        event: Event = kind(notification_id=ids[name], why=why, version=2, occurred_at=NOW, **fields)
        return event

    def chooses(who: UUID, version: int, *, wants: bool) -> Event:
        scope: MailScope = "replies" if wants else "all"
        return MailChoiceChanged(
            person_id=who, notifications=wants, scope=scope, moderation="daily", version=version, occurred_at=NOW
        )

    def follows(follow_id: UUID, who: UUID, version: int, *, still: bool) -> Event:
        return FollowChanged(
            follow_id=follow_id, person_id=who, post_id=POST, follows=still, version=version, occurred_at=NOW
        )

    await say(
        trial,
        ended(NotificationSent, "sent"),
        ended(NotificationSent, "was skipped"),
        ended(NotificationSkipped, "skipped", "unsubscribed"),
        ended(NotificationFailed, "failed", "gave_up"),
        ModerationMailEnded(
            mail_id=ids["moderators were told"], person_id=SOMEBODY, state="sent", why=None, version=2, occurred_at=NOW
        ),
        chooses(left, 1, wants=False),
        chooses(came_back, 2, wants=True),
        chooses(stays, 1, wants=True),  # said before the backup
        follows(ended_follow, stays, 2, still=False),
        follows(new_follow, left, 1, still=True),
        AddressSuppressed(person_id=bad, version=3, occurred_at=NOW),
    )
    found = await put_back(trial, back, tmp_path)
    assert done(found) == {
        "choices about mail set again": 2,
        "follows set again": 2,
        "secret feeds ended": 1,
        "addresses suppressed again": 1,
        "notifications ended as told": 5,
        "notifications skipped": 1,
    }
    by_id = {row[0]: row[1:] for row in await rows(back, "select id, state, why, version, frozen from notifications")}
    assert {name: by_id[made] for name, made in ids.items()} == {
        "was sent": ("sent", None, 1, None),
        "sent": ("sent", None, 2, None),
        "skipped": ("skipped", "unsubscribed", 2, None),
        "failed": ("failed", "gave_up", 2, None),
        "unknown": ("skipped", "restored", 2, None),
        "was skipped": ("sent", None, 2, None),
        "moderators were told": ("sent", None, 2, None),
    }
    choices = await rows(back, "select person_id, notifications, scope, moderation from mail_choices")
    assert {row[0]: row[1:] for row in choices} == {
        stays: (False, "all", "hourly"),
        left: (False, "all", "daily"),
        came_back: (True, "replies", "daily"),
    }
    follows_now = await rows(back, "select id, person_id, follows, version from follows")
    assert sorted(follows_now, key=lambda row: row[3]) == [(new_follow, left, True, 1), (ended_follow, stays, False, 2)]
    assert await rows(back, "select person_id, address_version from suppressions") == [(bad, 3)]
    assert await rows(back, "select why from mail_pause") == [("restored",)]
    assert await rows(back, EVENTS) == [("skipped", True)]


async def test_what_was_said_before_the_backup_is_no_loss_and_deletes_no_text(
    new_trial: NewTrial, tmp_path: Path
) -> None:
    trial, back = await new_trial("comments"), await new_trial("comments", empty=True)
    moderated, reworded = uuid4(), uuid4()
    async with trial.connected() as connection:
        await connection.execute(
            "insert into discussions (post_id, post_author_id, kind, status, discussion, version, visible_count) "
            "values ($1, $2, 'post', 'published', 'open', 1, 0)",
            POST,
            SOMEBODY,
        )
        await connection.execute(ADD_COMMENT, moderated, POST, SOMEBODY, "removed")
        await connection.execute(ADD_COMMENT, reworded, POST, SOMEBODY, "held")
    await say(
        trial, comment(CommentRemoved, moderated, 1, "removed"), comment(CommentEdited, reworded, 1, "held")
    )  # read too, because clocks differ
    await trial.take(tmp_path)
    await say(trial, comment(CommentApproved, reworded, 2, "visible"))
    await say(trial, comment(CommentStated, moderated, 1, "removed"), epoch=1_700_000_000)
    assert done(await put_back(trial, back, tmp_path)) == {"comments shown again": 1}
    states = dict(await rows(back, "select id, state || ' ' || coalesce(body, 'deleted') from comments"))
    assert states == {moderated: "removed private", reworded: "visible private"}


async def test_a_name_of_before_the_backup_is_not_lost(new_trial: NewTrial, tmp_path: Path) -> None:
    trial, back = await new_trial("people"), await new_trial("people", empty=True)
    made = uuid4()
    async with trial.connected() as connection:
        await connection.execute("insert into people (id, name) values ($1, 'Robin')", made)
    await say(trial, person(PersonRenamed, made, 1))
    await trial.take(tmp_path)
    await say(trial, person(PersonRolesChanged, made, 2, "moderator"))
    assert done(await put_back(trial, back, tmp_path)) == {"roles set again": 1}


async def test_a_notification_that_waits_anew_does_not_end_as_told_before(new_trial: NewTrial, tmp_path: Path) -> None:
    trial, back = await new_trial("notify"), await new_trial("notify", empty=True)
    ids = await add_notifications(trial, ("revived",))
    await trial.run("update notifications set version = 3", "select 1")
    fields = {"person_id": SOMEBODY, "comment_id": POST, "post_id": POST, "reasons": ("reply_to_you",)}
    skipped: Any = {"why": "comment_held", "version": 2, "occurred_at": NOW}
    await say(trial, NotificationSkipped(notification_id=ids["revived"], **fields, **skipped))
    await trial.take(tmp_path)
    assert done(await put_back(trial, back, tmp_path)) == {"notifications skipped": 1}
    assert await rows(back, "select state, why, version from notifications") == [("skipped", "restored", 4)]


async def test_records_that_nobody_can_read_are_counted(new_trial: NewTrial, tmp_path: Path) -> None:
    trial, back = await new_trial("posts"), await new_trial("posts", empty=True)
    made = await add_post(trial, "one", "published")
    await trial.take(tmp_path)
    await say(trial, post(PostPublished, made, 1, "published"))
    async with AIOKafkaProducer(bootstrap_servers=trial.settings.kafka_bootstrap_servers) as producer:
        await producer.send_and_wait(f"{trial.settings.kafka_prefix}posts.events", b"garbage", partition=0)
    await say(trial, post(PostWithdrawn, made, 2, "withdrawn"))
    assert done(await put_back(trial, back, tmp_path)) == {"posts withdrawn again": 1, "unreadable records": 1}


LONG_AGO = NOW - timedelta(hours=5)


async def test_what_the_log_lacks_is_told(new_trial: NewTrial) -> None:
    trial = await new_trial("posts")
    settings, made = trial.settings, uuid4()
    missing = await read_history(settings, POSTS, LONG_AGO)
    assert missing.kept_since is not None
    assert missing.kept_since > NOW  # another broker, whose topic is not there yet

    await say(trial, post(PostPublished, made, 1, "published"), at=LONG_AGO - timedelta(hours=1))
    await say(trial, post(PostPublished, made, 2, "published"), at=LONG_AGO + timedelta(hours=1))
    whole = await read_history(settings, POSTS, LONG_AGO)
    assert whole.kept_since is None
    assert [said.event.version for said in whole.newest(PostFact).values()] == [2]
    assert await read_history(settings, POSTS, LONG_AGO) == whole

    younger = await read_history(settings, POSTS, LONG_AGO - timedelta(hours=2))
    assert younger.kept_since is not None
    assert abs(younger.kept_since - (LONG_AGO - timedelta(hours=1))) < timedelta(seconds=1)

    name = f"{settings.kafka_prefix}posts.events"
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    parts = [TopicPartition(name, number) for number in range(POSTS.partitions)]
    await admin.delete_records({part: RecordsToDelete(before_offset=1) for part in parts[:0]})
    for part in parts:
        try:
            await admin.delete_records({part: RecordsToDelete(before_offset=1)})
        except Exception:  # the partitions without a record
            continue
    await admin.close()
    cut = await read_history(settings, POSTS, LONG_AGO)
    assert cut.kept_since is not None
    assert abs(cut.kept_since - (LONG_AGO + timedelta(hours=1))) < timedelta(seconds=1)
