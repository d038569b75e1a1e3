"""Strings that try to be more than text: line breaks, encoded words, quotes, bidi, surrogates, addresses."""

import random
from collections.abc import Iterator

PIECES = [
    *("\r", "\n", "\r\n", "\r\n ", "\n\n", "\0", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\t", " "),
    *("\r\nBcc: eve@evil.example", "\nSubject: x", "%0d%0aBcc: e@evil.example", "=0D=0ABcc:_e=40evil.example"),
    *("=?", "?=", "=?utf-8?q?", "=?utf-8?b?DQpCY2M6IGVAeA==?=", "=?utf-8?q?=0ABcc=3A_e=40evil.example?="),
    *('"', "'", "\\", "<", ">", ",", ";", ":", "(", ")", "[", "]", "@", "@evil.example", "<eve@evil.example>"),
    *('" <eve@evil.example>, "', "undisclosed:;", "\u202e", "\u2066", "\u200f", "\ud800", "\udfff", "\ufeff"),
    *("é", "日本", "😀", "\u0301", "a", "Bob", "bob@example.org", "example.org", ".", "..", "-", "x" * 90, "ß" * 80),
    *("\U000e0041", "\xad", "\u00a0", "\u3000", "ﬁ", "＠", "‮", "\r\n.\r\n", "RCPT TO:<eve@evil.example>"),
]


def hostile_strings(count: int, seed: int) -> Iterator[str]:
    """Yield `count` strings, the same for the same seed."""
    choose = random.Random(seed)
    for _ in range(count):
        pieces = choose.choices(PIECES, k=choose.randint(1, 8))
        if choose.random() < 0.2:
            pieces.append(chr(choose.randrange(0x110000)))
        if choose.random() < 0.02:
            pieces = pieces * 40
        yield "".join(pieces)
