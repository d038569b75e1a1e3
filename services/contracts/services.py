"""Definitions that all services share: addresses, token issuers and common request bodies."""

from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from services.contracts.text import Body

Ids = Annotated[list[UUID], Field(max_length=200)]

ISSUERS = ("gateway", "notify", "operator", "people")  # services that sign tokens


class ServiceAddresses(BaseModel):
    """Base URLs of the services' internal APIs. Mixed into the settings of their callers."""

    posts_url: str = "http://127.0.0.1:8101"
    comments_url: str = "http://127.0.0.1:8102"
    people_url: str = "http://127.0.0.1:8103"
    notify_url: str = "http://127.0.0.1:8104"


class LookUp(Body):
    """Query: look up these things; unknown ids are left out of the answer."""

    ids: Ids


class Republish(Body):
    """Command of an operator: publish again every event that was published since then."""

    since: AwareDatetime


Offset = Annotated[int, Field(ge=0, lt=2**63)]
PartitionNumber = Annotated[int, Field(ge=0, lt=2**31)]


class ChoosePartitions(Body):
    """Command of an operator: pause or resume one partition of a consumer group, or all of them.

    Attributes:
        dry_run: only answer which partitions it concerns.
    """

    topic: str | None = None
    partition: PartitionNumber | None = None
    dry_run: bool = False


class SkipRecords(Body):
    """Command of an operator: put these records of a partition aside as dead letters, and go on behind them."""

    topic: str
    partition: PartitionNumber
    first: Offset
    last: Offset
    dry_run: bool = False


class Rerender(Body):
    """Command of an operator: render anew the next texts after this id that an older renderer has rendered."""

    after: UUID | None = None
