"""What holds for all services: where each is reached, whose tokens count, and the bodies that every one understands."""

from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from services.contracts.text import Body

Ids = Annotated[list[UUID], Field(max_length=200)]

ISSUERS = ("gateway", "notify", "operator", "people")  # who signs tokens


class ServiceAddresses(BaseModel):
    """Base URLs of the services' internal APIs. Mixed into the settings of whoever calls them."""

    posts_url: str = "http://127.0.0.1:8101"
    comments_url: str = "http://127.0.0.1:8102"
    people_url: str = "http://127.0.0.1:8103"
    notify_url: str = "http://127.0.0.1:8104"


class LookUp(Body):
    """Query: what the owner knows of these things now; unknown ids are left out of the answer."""

    ids: Ids


class Republish(Body):
    """Command of an operator: publish every event again that was published since then."""

    since: AwareDatetime
