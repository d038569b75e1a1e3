"""Commands that start a session: by a link, by the code beside it, by what a front end elsewhere was handed.

A browser that presses a button twice gets the session of its first press: both carry its nonce, and the cookie is
derived from that and the link.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TypeVar

from services.chassis.database.pool import Database, Transaction
from services.chassis.errors import Problem, not_found
from services.chassis.ids import new_id
from services.chassis.messaging import outbox
from services.contracts.people import PersonConfirmed, PersonRolesChanged
from services.people.commands import fact
from services.people.commands.sessions import Started, open_session
from services.people.domain import (
    Asked,
    Browser,
    FrontEnd,
    HandedOver,
    Link,
    Person,
    challenge_of,
    confirmed_roles,
    fingerprint,
    new_secret,
)
from services.people.store import hand_overs, link_use, people, sessions, sign_in, sign_in_codes
from services.people.tokens import Tokens


@dataclass(frozen=True)
class SignInRules:
    """What signing in depends on beside the database.

    Attributes:
        admins: addresses, as they are looked up, whose owners become admins.
        return_urls: pages of front ends elsewhere to which a link may lead back.
    """

    tokens: Tokens
    admins: Collection[str]
    return_urls: Collection[str]

    def front_end(self, asked: Asked | None) -> FrontEnd | None:
        """Return the front end elsewhere to which a link leads back, if that is still allowed."""
        found = asked.front_end if asked else None
        return found if found and found.return_to in self.return_urls else None


async def start_session(
    db: Database, rules: SignInRules, token: str, browser: Browser | None, user_agent: str | None = None
) -> Started | HandedOver:
    """Use a link: confirm its address, void every other link of it, and open a session.

    Args:
        browser: gets an opaque session id, or is led back to the front end that asked; without one the answer is a
            refresh token.
        user_agent: what the client calls itself, for its person to know it by.

    Raises:
        Problem: `not-found` for a token that was never drawn, `link-used-or-expired`.
    """
    async with db.transaction() as tx:
        link = await link_use.find_link(tx, fingerprint(token))
        if link is None:
            raise not_found()
        started = await _use(tx, rules, link, browser, rules.front_end(link.asked))
        if started is None:
            raise Problem("link-used-or-expired")
        return await _of(tx, started, user_agent)


async def start_session_by_code(
    db: Database,
    rules: SignInRules,
    public_id: str,
    code: str,
    browser: Browser | None,
    user_agent: str | None = None,
) -> Started | HandedOver:
    """Use the link of a request by the code that stands beside it in the mail.

    Raises:
        Problem: `invalid-code`, whatever the reason. A wrong code is counted, and that is committed.
    """
    async with db.transaction() as tx:
        started = await _judge(tx, rules, public_id, code, browser)
        if started is not None:
            return await _of(tx, started, user_agent)
    raise Problem("invalid-code")


Begun = TypeVar("Begun", Started, Started | HandedOver)


async def _of(tx: Transaction, started: Begun, user_agent: str | None) -> Begun:
    """Note what the client of a session calls itself; one that is only handed over has none yet."""
    if user_agent and isinstance(started, Started):
        await sessions.keep_user_agent(tx, started.session_id, user_agent)
    return started


async def _judge(
    tx: Transaction, rules: SignInRules, public_id: str, code: str, browser: Browser | None
) -> Started | HandedOver | None:
    """Return None for a code that does not count; known and unknown addresses run the same statements until then."""
    request = await sign_in_codes.find_request(tx, public_id)
    if request is None:
        return None
    await sign_in.wait_for_address(tx, request.lookup)
    may_be_judged = await sign_in_codes.count_try(tx, request)
    if not rules.tokens.is_code(public_id, code):
        if may_be_judged:
            await sign_in_codes.insert_wrong(tx, request)
        return None
    link = await link_use.newest_link(tx, request.id)
    if link is None:
        return None
    if not may_be_judged:
        return await _again(tx, rules, link, browser, None)
    started = await _use(tx, rules, link, browser, None)
    if started is None:
        raise Problem("invalid-code")
    return started


async def fetch_session(db: Database, code: str, verifier: str, user_agent: str | None = None) -> Started:
    """Open the session that was handed over to a front end elsewhere, once.

    Raises:
        Problem: `invalid-code`, whatever the reason.
    """
    async with db.transaction() as tx:
        person_id = await hand_overs.person_of(tx, fingerprint(code))
        person = await people.lock(tx, person_id) if person_id else None
        if person is None or not await hand_overs.use(tx, fingerprint(code), challenge_of(verifier)):
            raise Problem("invalid-code")
        return await _of(tx, await open_session(tx, person, new_secret(), cookie=False), user_agent)


async def _use(
    tx: Transaction, rules: SignInRules, link: Link, browser: Browser | None, front_end: FrontEnd | None
) -> Started | HandedOver | None:
    """Use a link; return None if it was used by another browser or long ago, or has expired."""
    if link.asked is None:
        return None
    if link.live:
        nonce = browser.nonce if browser else None
        await sign_in.wait_for_address(tx, link.asked.address.lookup)
        if await link_use.use_link(tx, link, fingerprint(nonce) if nonce else None):
            await sign_in.void_links(tx, link.asked.address.lookup)
            person = await _confirm(tx, link.asked, rules.admins)
            return None if person is None else await _open(tx, rules, link, person, browser, front_end)
    return await _again(tx, rules, link, browser, front_end)


async def _open(
    tx: Transaction, rules: SignInRules, link: Link, person: Person, browser: Browser | None, front_end: FrontEnd | None
) -> Started | HandedOver:
    if browser is None:
        return await open_session(tx, person, new_secret(), cookie=False)
    if front_end is not None:
        code = rules.tokens.hand_over(link.token_sha256, browser.nonce) if browser.nonce else new_secret()
        await hand_overs.insert(tx, fingerprint(code), person.id, front_end.challenge)
        return HandedOver(front_end.return_to, code)
    cookie = rules.tokens.session(link.token_sha256, browser.nonce) if browser.nonce else new_secret()
    started = await open_session(tx, person, cookie, cookie=True)
    ended = await sessions.end_by_cookie(tx, fingerprint(browser.replaces)) if browser.replaces else None
    return replace(started, ended=ended)


async def _again(
    tx: Transaction, rules: SignInRules, link: Link, browser: Browser | None, front_end: FrontEnd | None
) -> Started | HandedOver | None:
    """Return what the first press gave, to the browser that has just pressed the button; else None."""
    nonce = browser.nonce if browser else None
    if nonce is None or not await link_use.was_just_used(tx, link, fingerprint(nonce)):
        return None
    if front_end is not None:
        for code in rules.tokens.hand_overs(link.token_sha256, nonce):
            if await hand_overs.person_of(tx, fingerprint(code)):
                return HandedOver(front_end.return_to, code)
    for cookie in rules.tokens.sessions(link.token_sha256, nonce):
        found = await sessions.find_by_cookie(tx, fingerprint(cookie))
        person = await people.find(tx, found[1]) if found else None
        if found is not None and person is not None:
            return Started(found[0], person, cookie, by_cookie=True)
    return None


async def _confirm(tx: Transaction, asked: Asked, admins: Collection[str]) -> Person | None:
    """Return the person of a confirmed address; insert one if the address is new.

    The name offered with the link is used for a new person only. Nobody is inserted without one.
    """
    owner = await people.owner_of(tx, asked.address.lookup)
    if owner is None:
        if asked.name is None:
            return None
        person = await people.insert(tx, new_id(), asked.name, confirmed_roles((), asked.address.lookup, admins))
        await people.insert_address(tx, person.id, asked.address)
        await outbox.add(tx, fact(PersonConfirmed, person))
        return replace(person, address=asked.address.typed)
    known = await people.lock(tx, owner[0])
    if known is None:
        return None
    roles = confirmed_roles(known.roles, asked.address.lookup, admins)
    if roles == known.roles:
        return known
    await people.set_roles(tx, known.id, roles)
    changed = replace(known, roles=roles, version=known.version + 1)
    await outbox.add(tx, fact(PersonRolesChanged, changed))
    return changed
