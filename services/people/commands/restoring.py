"""Apply to a restored database what people has said since the snapshot: erasures, and the latest roles.

Every session, link and request for one ends: what was ended or used since is not known any more.
"""

from collections.abc import Mapping
from dataclasses import replace

from services.chassis.database.pool import Transaction
from services.chassis.messaging import outbox
from services.chassis.messaging.history import History
from services.contracts.people import PersonErased, PersonFact, PersonRenamed, PersonRolesChanged
from services.people.commands import fact, renamed
from services.people.commands.profile import erase_within
from services.people.store import avatars, hand_overs, people, sessions, sign_in


async def apply_history(tx: Transaction, history: History, epoch: int) -> Mapping[str, int]:
    """End all sessions and links, erase and set roles again; return what was done and what is lost.

    Args:
        epoch: that of the backup.
    """
    done = {"sessions ended": await sessions.end_everybodys(tx), "requests for links ended": await sign_in.end_all(tx)}
    done |= {"people erased again": 0, "roles set again": 0, "people lost": 0, "names lost": 0}
    done |= {"pictures taken away again": 0, "self-descriptions taken away again": 0}
    looks = history.of_type.get(PersonRenamed, {})
    await hand_overs.delete_all(tx)
    erased = history.subjects(PersonErased)
    for person_id, said in history.newest(PersonFact).items():
        person = await people.find(tx, person_id)
        if person is None:
            done["people lost"] += person_id not in erased
        elif person_id in erased:
            done["people erased again"] += await erase_within(tx, person_id)
        elif said.is_newer_than(epoch, person.version):
            now = person
            if said.event.roles != person.roles:
                await people.set_roles(tx, person_id, said.event.roles)
                now = replace(person, roles=said.event.roles, version=person.version + 1)
                await outbox.add(tx, fact(PersonRolesChanged, now))
                done["roles set again"] += 1
            shown = looks.get(person_id)
            if shown and shown.is_newer_than(epoch, person.version):
                if now.picture and shown.event.has_picture is False:
                    await avatars.take_away(tx, person_id)
                    now = replace(now, picture=None, version=now.version + 1)
                    await outbox.add(tx, renamed(now))
                    done["pictures taken away again"] += 1
                if now.about and shown.event.has_about is False:
                    await people.describe(tx, person_id, None)
                    await outbox.add(tx, renamed(replace(now, about=None, version=now.version + 1)))
                    done["self-descriptions taken away again"] += 1
            done["names lost"] += history.has_newer(PersonRenamed, person_id, epoch, person.version)
    return done
