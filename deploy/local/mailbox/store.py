"""Mails on disk: the received bytes in one file each, and the envelope in a second file."""

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import cached_property
from pathlib import Path
from secrets import token_hex

from deploy.local import private

NAME = re.compile(r"[0-9]{16}-[0-9a-f]{8}\Z")


@dataclass(frozen=True)
class StoredMail:
    """One mail.

    Attributes:
        name: time of arrival in microseconds and a random part; sorts by arrival.
        sender: the envelope sender, which may be empty.
        recipients: the envelope recipients, whatever the headers say.
    """

    name: str
    sender: str
    recipients: tuple[str, ...]
    content: bytes

    @property
    def arrived_at(self) -> float:
        """Return the time of arrival in Unix seconds."""
        return int(self.name[:16]) / 1e6

    @cached_property
    def message(self) -> EmailMessage:
        return message_from_bytes(self.content, policy=policy.default)

    def header(self, name: str) -> str:
        """Return a decoded header, empty when it is missing or malformed."""
        try:
            return str(self.message[name] or "")
        except (ValueError, IndexError, AttributeError):  # exceptions of the standard parser on malformed headers
            return ""

    def part(self, kind: str) -> str:
        """Return the text of the first part of type `text/<kind>`, empty when there is none."""
        try:
            part = self.message.get_body((kind,))
            return "" if part is None else str(part.get_content())
        except (ValueError, LookupError, AttributeError):  # such as an unknown character set
            return ""


class Store:
    """All mails of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        private.make_folder(folder)

    def add(self, sender: str, recipients: Sequence[str], content: bytes) -> str:
        """Store a mail and return its name. It is listed only when it is complete."""
        name = f"{time.time_ns() // 1000:016d}-{token_hex(4)}"
        envelope = json.dumps({"sender": sender, "recipients": list(recipients)})
        private.write(self._folder / f"{name}.json", envelope)
        private.write(self._folder / f"{name}.eml", content)
        return name

    def names(self) -> list[str]:
        """Return the names of all mails, newest first."""
        return sorted((file.stem for file in self._folder.glob("*.eml")), reverse=True)

    def get(self, name: str) -> StoredMail | None:
        """Return the mail of that name, None when there is none."""
        if not NAME.match(name):
            return None
        try:
            envelope = json.loads((self._folder / f"{name}.json").read_text())
            content = (self._folder / f"{name}.eml").read_bytes()
        except OSError:
            return None
        return StoredMail(name, envelope["sender"], tuple(envelope["recipients"]), content)

    def clear(self) -> None:
        """Delete all mails."""
        for name in self.names():
            for ending in ("eml", "json"):
                (self._folder / f"{name}.{ending}").unlink(missing_ok=True)
