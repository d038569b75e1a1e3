"""Schemas of refusals."""

from pydantic import BaseModel, Field


class FieldProblem(BaseModel):
    """One field that is not valid."""

    field: str = Field(description="Its dotted name; the parameter's name for a query; empty for the whole body.")
    message: str = Field(description="What is wrong with it, as the predicate of a sentence.")


class Problem(BaseModel):
    """A refusal (RFC 9457), in `application/problem+json`. Tell them apart by `type`, never by `title` or `detail`."""

    type: str = Field(
        description="`/problems/` and the kind, which is also the address of a page that explains it. There may be "
        "more kinds later: then go by `status`.",
        json_schema_extra={"format": "uri-reference"},
    )
    title: str = Field(description="The kind in a few words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened this time, for people.")
    instance: str = Field(description="The id of the request, as in `X-Request-ID`.")
    errors: list[FieldProblem] = Field(
        default=[], description="The fields that are not valid; only, and always, in problems of kind `invalid`."
    )
