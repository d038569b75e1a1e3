"""Text fields of requests: NFC, without NUL, lone surrogates or unwanted characters, and bounded.

Lengths count code points after NFC, without outer white space. What people see on one line has a visible character.
"""

from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetJsonSchemaHandler,
    WithJsonSchema,
)

from services.contracts.characters import LINE_BREAKS, LINE_END, NONCHARACTER, is_visible, without_unwanted
from services.contracts.normal_form import nfc


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
    return nfc(value)


def readable(value: str) -> str:
    """Return what is for people to read in NFC, without unwanted characters.

    Raises:
        ValueError: it contains NUL or a lone surrogate.
    """
    cleaned = clean(value)
    kept = without_unwanted(cleaned)
    return cleaned if len(kept) == len(cleaned) else nfc(kept)


def _compared(value: object) -> object:
    """Return a value that is compared, not read: nothing is taken out of it, so that no two become one."""
    if not isinstance(value, str):
        return value
    text = clean(value).strip()
    if NONCHARACTER.search(text):
        raise ValueError("must not contain a non-character")
    return text


def _bare(value: object) -> object:
    """Return text of several lines without white space around it."""
    return readable(value).strip() if isinstance(value, str) else value


def _body(value: object) -> object:
    """Return a text as it was typed but for blank lines around it: indentation means something in Markdown."""
    if not isinstance(value, str):
        return value
    text = readable(value)
    bare = text.strip()
    before, _, after = text.partition(bare) if bare else ("", "", "")
    return LINE_END.split(before)[-1] + bare + LINE_END.split(after)[0]


def _line(value: object) -> object:
    """Return one line for a name or a title: control characters become a space."""
    return LINE_BREAKS.sub(" ", readable(value)).strip() if isinstance(value, str) else value


def _imported_line(value: object) -> object:
    """Return one line, empty if nothing of it can be seen: then pages and mails have a word in its place."""
    line = _line(value)
    return "" if isinstance(line, str) and not is_visible(line) else line


def _check_visible(value: str) -> str:
    if not is_visible(value):
        raise ValueError("must have a visible character")
    return value


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


def _schema(most: int, **more: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "minLength": 1, "maxLength": most, **more})


def _given(value: object) -> object:
    if value is None:
        raise ValueError("must not be null")
    return value


class _WithoutNull:
    """Describes an optional type by its first alternative."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        given: dict[str, Any] = handler(schema)["anyOf"][0]
        return given


T = TypeVar("T")
# of a field that may be left out, which is None here, but that no client may send as null
LeftOut = Annotated[T | None, BeforeValidator(_given), _WithoutNull()]


def left_out() -> None:
    """Return the default of a `LeftOut` field; a default that is a value would be published as null."""


VISIBLE = AfterValidator(_check_visible)

Name = Annotated[str, BeforeValidator(_line), _most(100), VISIBLE, _schema(100)]
Title = Annotated[str, BeforeValidator(_line), _most(300), VISIBLE, _schema(300)]
About = Annotated[str, BeforeValidator(_bare), _most(500), VISIBLE, _schema(500)]
EditNote = Annotated[str, BeforeValidator(_line), _most(500), VISIBLE, _schema(500)]
Excerpt = EditNote
CommentText = Annotated[str, BeforeValidator(_body), _most_of_body(10_000), _schema(10_000)]
PostText = Annotated[str, BeforeValidator(_body), _most_of_body(60_000), _schema(60_000)]
EmailText = Annotated[str, BeforeValidator(_compared), _most(254), _schema(254, format="email")]
Opaque = Annotated[str, BeforeValidator(_compared), _most(512), _schema(512)]
ImportedTitle = Annotated[str, BeforeValidator(_imported_line)]
ImportedText = Annotated[str, BeforeValidator(_bare)]
