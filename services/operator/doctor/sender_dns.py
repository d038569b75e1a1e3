"""Look at what DNS says about the sender of mails: SPF (RFC 7208), DKIM (RFC 6376) and DMARC (RFC 7489)."""

import dns.asyncresolver
import dns.exception
import dns.resolver

from services.chassis.mail.sender import Sender
from services.operator.doctor.examination import Surroundings
from services.operator.doctor.findings import Finding, fault, ok, warning

ANSWER_SECONDS = 5.0
NOT_PUBLIC = ("localhost", "test", "example", "invalid", "local", "internal")  # RFC 2606, 6761 and 6762


class Unanswered(Exception):
    """DNS does not answer; the message says how."""


async def txt_records(name: str) -> list[str]:
    """Return the TXT records of a name, none where it has none.

    Raises:
        Unanswered: DNS does not say.
    """
    try:
        answer = await dns.asyncresolver.Resolver().resolve(name, "TXT", lifetime=ANSWER_SECONDS)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    except (dns.exception.DNSException, OSError) as error:
        raise Unanswered(type(error).__name__) from error
    return [b"".join(record.strings).decode("utf-8", "replace") for record in answer]


async def check_sender(around: Surroundings) -> list[Finding]:
    """Check the domain of `MAIL_FROM`."""
    settings = around.settings
    if not settings.is_set("mail_from"):
        mend = "Set MAIL_FROM here too, as the mailers have it, to have SPF, DKIM and DMARC looked at."
        return [warning("MAIL_FROM", "it is not set here, so its domain was not looked at", mend)]
    domain = Sender.parse(settings.mail_from).domain
    if domain.rpartition(".")[2] in NOT_PUBLIC:
        if settings.environment == "development":
            return [ok("MAIL_FROM", f"{domain} is no public domain, as befits development")]
        mend = "Set MAIL_FROM to an address in a domain of your own."
        return [fault("MAIL_FROM", f"{domain} is no public domain: mail servers refuse mails from there", mend)]
    try:
        return [await _spf(around, domain), await _dkim(around, domain), await _dmarc(around, domain)]
    except Unanswered as error:
        mend = "Repeat this where DNS can be asked; SPF, DKIM and DMARC decide whether mails arrive."
        return [warning("MAIL_FROM", f"DNS does not say anything about {domain} ({error})", mend)]


async def _spf(around: Surroundings, domain: str) -> Finding:
    found = [text for text in await around.resolve(domain) if text.lower().split(" ")[0] == "v=spf1"]
    name = f"SPF of {domain}"
    if not found:
        mend = f'Publish a TXT record for {domain} that names your mail server, such as "v=spf1 mx -all".'
        return warning(name, "there is none, so anybody may send in this name", mend)
    if len(found) > 1:
        return fault(name, f"there are {len(found)}, which counts as an error", "Merge them into one TXT record.")
    if "+all" in found[0].lower().split() or "all" in found[0].lower().split():
        return warning(name, f"{found[0]} lets everybody send", "End it with -all or ~all.")
    return ok(name, found[0])


async def _dkim(around: Surroundings, domain: str) -> Finding:
    selector = around.dkim_selector
    if selector is None:
        mend = "Repeat this with --dkim-selector; the mail server that signs knows its selector."
        return warning(f"DKIM of {domain}", "it was not looked at: DNS does not list selectors", mend)
    name = f"{selector}._domainkey.{domain}"
    texts = [text for text in await around.resolve(name) if "p=" in text]
    if not texts:
        return fault(
            "DKIM", f"there is no key at {name}", "Publish the public key of the mail server that signs there."
        )
    tags = _tags(texts[0])
    if not tags.get("p"):
        return fault("DKIM", f"the key at {name} is revoked", "Publish the present key, or name the present selector.")
    return ok("DKIM", f"there is a key at {name}")


async def _dmarc(around: Surroundings, domain: str) -> Finding:
    name = f"DMARC of {domain}"
    labels = domain.split(".")
    for start in range(len(labels) - 1):
        place = "_dmarc." + ".".join(labels[start:])
        texts = [text for text in await around.resolve(place) if text.lower().replace(" ", "").startswith("v=dmarc1")]
        if len(texts) > 1:
            return fault(name, f"there are {len(texts)} at {place}, so none counts", "Keep one TXT record there.")
        if texts and _tags(texts[0]).get("p", "").lower() not in ("none", "quarantine", "reject"):
            return fault(name, f"{texts[0]} has no policy", "Write p=none, p=quarantine or p=reject into it.")
        if texts:
            return ok(name, f"{texts[0]} at {place}")
    mend = f'Publish a TXT record for _dmarc.{domain}, such as "v=DMARC1; p=none; rua=mailto:…".'
    return warning(name, "there is none; large mail services want one", mend)


def _tags(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
