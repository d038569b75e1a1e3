"""Schemas of signing in: what starts a session, and what it answers."""

from pydantic import BaseModel, Field, RootModel

from services.contracts.text import Body, Opaque
from services.gateway.apidocs.schemas.people import Me


class Session(BaseModel):
    """A signed-in session: a token to call with, and one to get the next pair with."""

    access_token: str = Field(description="For `Authorization: Bearer`. A text without meaning to a client.")
    token_type: str = Field(description="How to send it.", json_schema_extra={"enum": ["Bearer"]})
    expires_in: int = Field(description="Seconds until `access_token` is refused.")
    refresh_token: str = Field(description="Works once, at `/v1/sessions/refresh`. Keep it secret.")
    person: Me = Field(description="Who is signed in.")


class CheckYourMail(BaseModel):
    """The same answer whether the address is known or not."""

    status: str = Field(description="What to do next.", json_schema_extra={"enum": ["check_your_mail"]})
    request: str = Field(description="Names the request; with it the code in the mail signs in.")


class UseLink(Body):
    """Command: sign in with the token of a mailed link."""

    token: Opaque = Field(description="The last part of the link in the mail, behind `/sign-in/`. It works once.")


class UseCode(Body):
    """Command: sign in with the code of a mail."""

    request: Opaque = Field(description="The `request` of the answer to `register` or `requestSignIn`.")
    code: Opaque = Field(description="The 8 digits in the mail.")


class FetchSession(Body):
    """Command: sign in with the code that a link with `return_to` led back with, once and within 60 seconds."""

    code: Opaque = Field(description="The code behind `#code=` of the address that was led back to.")
    verifier: Opaque = Field(description="What the `challenge` was made of (RFC 7636).")


class StartSession(RootModel[UseLink | UseCode | FetchSession]):
    """Command: sign in, in one of three ways."""
