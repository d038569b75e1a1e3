"""Count the words of a text, so that readers know how long it is.

A word is what stands between spaces and dashes and has a letter or a digit. Chinese and Japanese put no spaces between
words: there each character counts as one, as word processors count. Thai, Lao, Burmese and Khmer put
none either, and their words are longer: there four letters count as one.
"""

import re
from html import unescape

from services.chassis.text.words import BLOCKS

LETTERS_OF_A_WORD = 4  # in Thai, Lao, Burmese and Khmer, about

MARKUP = r"(?:\"[^\"]*+\"|[^\">])*+>"
BREAK = re.compile(rf"</?(?:{'|'.join(sorted((*BLOCKS, 'br', 'img'), key=len, reverse=True))})\b{MARKUP}")
TAG = re.compile(rf"</?[a-z]{MARKUP}")
BETWEEN = re.compile(r"[\s\u2013\u2014\u2026/]+")
# Han, Hiragana and Katakana, with what stands for repetition and length
CHARACTERS = re.compile("[\u3005-\u3007\u3041-\u3096\u309d-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
                        "\uf900-\ufaff\uff66-\uff9d\U00020000-\U0003ffff]")  # fmt: skip
LETTERS = re.compile("[\u0e01-\u0e2e\u0e81-\u0eae\u0edc-\u0edf\u1000-\u102a\u1780-\u17a2]")
OF_THESE_SCRIPTS = re.compile("[\u0e01-\u0e7f\u0e81-\u0eff\u1000-\u109f\u1780-\u17ff]+")


def word_count(html: str) -> int:
    """Return how many words a sanitised text has."""
    text = unescape(TAG.sub("", BREAK.sub(" ", html)))
    if text.isascii():
        return _between_spaces(text)
    characters, letters = len(CHARACTERS.findall(text)), len(LETTERS.findall(text))
    rest = OF_THESE_SCRIPTS.sub(" ", CHARACTERS.sub(" ", text))
    return characters + -(-letters // LETTERS_OF_A_WORD) + _between_spaces(rest)


def _between_spaces(text: str) -> int:
    return sum(any(map(str.isalnum, part)) for part in BETWEEN.split(text))
