"""Bodies of the calls that ask for a mail: their address is checked with the other fields, so that all are named."""

from typing import Annotated

from pydantic import AfterValidator, Field

from services.chassis.mail.addresses import parse_address
from services.contracts import people
from services.contracts.text import EmailText


def _check_address(text: str) -> str:
    parse_address(text)
    return text


Email = Annotated[EmailText, AfterValidator(_check_address)]
_described = people.Register.model_fields["email"].description


class Register(people.Register):
    """Command: register, by sending a confirmation link that signs in."""

    email: Email = Field(description=_described)


class SignIn(people.SignIn):
    """Command: send a sign-in link to a known address."""

    email: Email = Field(description=_described)
