"""Definitions that all services share: addresses, token issuers and common request bodies."""

from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field, StrictBool, StrictInt

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
    """Command of an operator: publish again what was published since then, among the next events behind `after`."""

    since: AwareDatetime
    after: Annotated[StrictInt, Field(ge=0, lt=2**63)] = 0
    dry_run: StrictBool = False


STATED = 500  # rows that an owner states, or a reader shows, with one call

# whose read model holds what a service owns; the gateway's cache forgets by itself
READERS = {"posts": "comments", "comments": "notify", "people": "posts"}
# of these, who says which rows are not there; whoever knew a person keeps the id
FORGOTTEN = ("posts", "comments")


class ShowRows(Body):
    """Query of an operator: the versions of the next rows behind `after`, or of those with these ids."""

    after: UUID = UUID(int=0)
    ids: Annotated[list[UUID], Field(max_length=STATED)] | None = None


class StateRows(Body):
    """Command of an operator: state the next rows behind `after`, for those who read them."""

    after: UUID = UUID(int=0)


class KnownRow(Body):
    """A row as a reader knows it; `key` is the record key of its events."""

    id: UUID
    key: UUID
    version: Annotated[StrictInt, Field(ge=0, lt=2**31 - 1)]


class StateGone(Body):
    """Command of an operator: state which of these rows that a reader knows are not there."""

    rows: Annotated[list[KnownRow], Field(max_length=STATED)]


class RaiseEpoch(Body):
    """Command of an operator: raise the epoch above the present one and this one."""

    above: Annotated[StrictInt, Field(ge=0, lt=10**17)] = 0


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
