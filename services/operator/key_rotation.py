"""Replace a key in three steps, so that nothing signed by either is ever refused.

1. `rotate` adds the next key: whoever checks accepts it, nobody signs with it.
2. `switch`, when every process knows it: its owner signs with the next one, the present one goes on being accepted.
3. `drop`, when nothing that was signed with the old one is valid any more.

In which step a key is can be told from its numbers alone: the other key is a later one, or an earlier one.
"""

import json
import secrets
from dataclasses import dataclass
from typing import Any, Literal

from services.chassis.identity import CALL_SECONDS, SKEW, generate_key, issuer_of, private_key
from services.contracts.people import ACCESS_TOKEN_LIFE, SIGN_IN_PERIOD
from services.contracts.secret_numbers import number_of, numbered
from services.contracts.services import ISSUERS
from services.operator.failures import Failed
from services.operator.key_file import KeyFile

Step = Literal["single", "added", "switched"]
Changes = dict[str, str | None]

SECRET = "notify-secret"  # noqa: S105 - the name of a key, not a secret
NAMES = (*ISSUERS, SECRET)


@dataclass(frozen=True)
class SigningKey:
    """The key with which a service signs tokens, and the other one while it is replaced.

    Attributes:
        name: the service.
        own: the private key that signs, as JSON.
        other: the next or the earlier private key, or an empty text.
        public: the JSON Web Keys of `VERIFICATION_KEYS`, of all services.
    """

    name: str
    own: str
    other: str
    public: list[dict[str, Any]]

    @property
    def step(self) -> Step:
        if not self.other:
            return "single"
        return "added" if _number(self.other_id) > _number(self.own_id) else "switched"

    @property
    def own_id(self) -> str:
        return str(json.loads(self.own)["kid"])

    @property
    def other_id(self) -> str:
        return str(json.loads(self.other)["kid"]) if self.other else ""

    @property
    def next_id(self) -> str:
        return self.other_id

    @property
    def own_thumbprint(self) -> str:
        return private_key(self.own, self.name).thumbprint()

    @property
    def other_thumbprint(self) -> str:
        return private_key(self.other, self.name).thumbprint()

    @property
    def life(self) -> int:
        """The seconds for which what was signed or derived last with a key is valid."""
        if self.name == "people":
            return int(max(ACCESS_TOKEN_LIFE.total_seconds() + SKEW, SIGN_IN_PERIOD.total_seconds()))
        return CALL_SECONDS + SKEW

    def rotated(self) -> Changes:
        """Return the variables after the next key was added."""
        last = max(
            _number(str(each.get("kid"))) for each in self.public if issuer_of(str(each.get("kid"))) == self.name
        )
        private, public = generate_key(self.name, str(last + 1))
        return {"VERIFICATION_KEYS": _key_set([*self.public, public]), _other(self.name): private}

    def switched(self) -> Changes:
        """Return the variables after the two keys have changed places."""
        return {f"{self.name.upper()}_SIGNING_KEY": self.other, _other(self.name): self.own}

    def dropped(self) -> Changes:
        """Return the variables without the other key."""
        kept = [each for each in self.public if each.get("kid") != self.other_id]
        return {"VERIFICATION_KEYS": _key_set(kept), _other(self.name): None}


@dataclass(frozen=True)
class DerivationSecret:
    """The secret from which notify derives unsubscribe links and Message-IDs, and others that it accepts.

    Attributes:
        others: the youngest first.
    """

    own: str
    others: list[str]
    name: str = SECRET

    @property
    def step(self) -> Step:
        if not self.others:
            return "single"
        return "added" if number_of(self.others[0]) > number_of(self.own) else "switched"

    @property
    def next_number(self) -> int:
        return number_of(self.others[0])

    @property
    def next_id(self) -> str:
        return f"secret {self.next_number}"

    @property
    def own_id(self) -> str:
        return f"secret {number_of(self.own)}"

    @property
    def other_id(self) -> str:
        return ", ".join(f"secret {number_of(each)}" for each in self.others)

    def rotated(self) -> Changes:
        """Return the variables after the next secret was added."""
        following = max(number_of(each) for each in (self.own, *self.others)) + 1
        return {"NOTIFY_OTHER_SECRETS": json.dumps([numbered(secrets.token_urlsafe(32), following), *self.others])}

    def switched(self) -> Changes:
        """Return the variables after the next secret has become notify's own."""
        following, *earlier = self.others
        return {"NOTIFY_SECRET": following, "NOTIFY_OTHER_SECRETS": json.dumps([self.own, *earlier])}

    def dropped(self) -> Changes:
        """Return the variables without the next secret, or else without all earlier ones."""
        left = self.others[1:] if self.step == "added" else []
        return {"NOTIFY_OTHER_SECRETS": json.dumps(left) if left else None}


def read(file: KeyFile, name: str) -> SigningKey | DerivationSecret:
    """Return a key as its file has it.

    Raises:
        Failed: the file lacks it, or what it has does not go together.
    """
    if name == SECRET:
        own = _required(file, "NOTIFY_SECRET")
        try:
            others = json.loads(file.value("NOTIFY_OTHER_SECRETS") or "[]")
        except ValueError:
            others = None
        if not isinstance(others, list) or not all(isinstance(each, str) for each in others):
            raise Failed(f"NOTIFY_OTHER_SECRETS in {file.path} is not a JSON list of secrets.")
        return DerivationSecret(own, others)
    own = _required(file, f"{name.upper()}_SIGNING_KEY")
    other = file.value(_other(name))
    public = _public_keys(file)
    known = {str(each.get("kid")) for each in public}
    for variable, key in ((f"{name.upper()}_SIGNING_KEY", own), (_other(name), other)):
        try:
            kid = str(private_key(key, name).kid) if key else ""
        except (ValueError, TypeError, KeyError):
            raise Failed(f"{variable} in {file.path} is no private key of {name}.") from None
        if kid and kid not in known:
            raise Failed(f"VERIFICATION_KEYS in {file.path} lacks {kid}, the public half of {variable}.")
    return SigningKey(name, own, other, public)


def _required(file: KeyFile, variable: str) -> str:
    if not (value := file.value(variable)):
        raise Failed(f"{file.path} has no {variable}: name the file of your keys with --file.")
    return value


def _public_keys(file: KeyFile) -> list[dict[str, Any]]:
    try:
        found = json.loads(_required(file, "VERIFICATION_KEYS"))["keys"]
    except (ValueError, TypeError, KeyError):
        found = None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise Failed(f"VERIFICATION_KEYS in {file.path} is not a JSON Web Key Set.")
    return found


def _other(issuer: str) -> str:
    return f"{issuer.upper()}_OTHER_SIGNING_KEY"


def _key_set(keys: list[dict[str, Any]]) -> str:
    return json.dumps({"keys": keys}, separators=(",", ":"))


def _number(kid: str) -> int:
    last = kid.rpartition("-")[2]
    return int(last) if last.isascii() and last.isdigit() else 0
