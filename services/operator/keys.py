"""Keys and secrets for a new installation."""

import json
import secrets

from services.chassis.identity import generate_key
from services.contracts.services import ISSUERS


def generate_keys() -> dict[str, str]:
    """Return environment variables with a private key for every issuer, the public keys of all, and notify's secret."""
    variables, public = {}, []
    for issuer in ISSUERS:
        variables[f"{issuer.upper()}_SIGNING_KEY"], public_key = generate_key(issuer)
        public.append(public_key)
    variables["VERIFICATION_KEYS"] = json.dumps({"keys": public}, separators=(",", ":"))
    variables["NOTIFY_SECRET"] = secrets.token_urlsafe(32)
    return variables
