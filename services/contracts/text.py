"""Text fields of requests: NFC, without NUL, lone surrogates or (in names) bidi controls, and bounded.

Lengths count code points after NFC, without outer white space.
"""

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, WithJsonSchema

BIDI_CONTROLS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
LINE_END = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
LINE_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class Body(BaseModel):
    """A request body; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def clean(value: str) -> str:
    """Return the string in NFC.

    Raises:
        ValueError: it contains NUL or a lone surrogate.
    """
    if "\0" in value:
        raise ValueError("must not contain NUL")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must not contain a lone surrogate") from None
    return unicodedata.normalize("NFC", value)


def _text(value: object) -> object:
    return clean(value).strip() if isinstance(value, str) else value


def _body(value: object) -> object:
    """Return a text as it was typed but for blank lines around it: indentation means something in Markdown."""
    if not isinstance(value, str):
        return value
    text = clean(value)
    bare = text.strip()
    before, _, after = text.partition(bare) if bare else ("", "", "")
    return LINE_END.split(before)[-1] + bare + LINE_END.split(after)[0]


def _line(value: object) -> object:
    """Return one line for a name or a title: control characters become a space, bidi controls are removed."""
    if not isinstance(value, str):
        return value
    return clean(LINE_BREAKS.sub(" ", BIDI_CONTROLS.sub("", clean(value)))).strip()


def _check_length(value: str, most: int) -> str:
    if not value:
        raise ValueError("must not be empty")
    if len(value) > most:
        raise ValueError(f"must have at most {most:,} characters")
    return value


def _most(most: int) -> AfterValidator:
    return AfterValidator(lambda value: _check_length(value, most))


def _most_of_body(most: int) -> AfterValidator:
    """Check the length without outer white space; white space that alone makes the text too long is removed."""

    def check(value: str) -> str:
        bare = _check_length(value.strip(), most)
        return value if len(value) <= most else bare

    return AfterValidator(check)


def _schema(most: int) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "minLength": 1, "maxLength": most})


Name = Annotated[str, BeforeValidator(_line), _most(100), _schema(100)]
Title = Annotated[str, BeforeValidator(_line), _most(300), _schema(300)]
EditNote = Annotated[str, BeforeValidator(_line), _most(500), _schema(500)]
CommentText = Annotated[str, BeforeValidator(_body), _most_of_body(10_000), _schema(10_000)]
PostText = Annotated[str, BeforeValidator(_body), _most_of_body(60_000), _schema(60_000)]
EmailText = Annotated[str, BeforeValidator(_text), _most(254), _schema(254)]
Opaque = Annotated[str, BeforeValidator(_text), _most(512), _schema(512)]
ImportedTitle = Annotated[str, BeforeValidator(_line)]
ImportedText = Annotated[str, BeforeValidator(_text)]
