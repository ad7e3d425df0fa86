"""Finding a text in lines, in any case: in the text of a chunk, and first of all in which chunks at all. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

GRAM = 3  # characters: FTS5's trigrams


class Needle:
    """A text to be found in messages, in any case (of ASCII letters; of others as Python lowers them)."""

    def __init__(self, query: str) -> None:
        self._text = query.lower()
        self._bytes = None if any(map(_has_foreign_case, query)) else query.encode("utf-8", "replace").lower()

    def lines(self, text: bytes, offsets: Sequence[int]) -> Iterator[int]:
        """Indexes of the lines that hold it. Line i of `text` is text[offsets[i]:offsets[i + 1]]."""
        if self._bytes is None:
            for index in range(len(offsets) - 1):
                if self._text in text[offsets[index] : offsets[index + 1]].decode("utf-8", "replace").lower():
                    yield index
            return
        hay = text.lower()  # bytes: of ASCII, and of the same length
        at = hay.find(self._bytes)
        while at >= 0:
            index = bisect_right(offsets, at) - 1
            if at + len(self._bytes) <= offsets[index + 1]:
                yield index
                at = offsets[index + 1]  # one find a line is enough
            else:
                at += 1  # across the end of a line
            at = hay.find(self._bytes, at)

    def match(self) -> str | None:
        """FTS5's question for chunks that may hold it (all its trigrams); None: the index is of no help.

        Example: "Time out" asks for "tim" AND "ime" AND "me " AND "e o" AND " ou" AND "out".
        """
        text = self._text
        grams = {text[at : at + GRAM] for at in range(len(text) - GRAM + 1)}
        sure = sorted(gram for gram in grams if not any(_is_unsure(char) for char in gram))
        return " AND ".join('"' + gram.replace('"', '""') + '"' for gram in sure) or None


def _has_foreign_case(char: str) -> bool:
    return not char.isascii() and not char.lower() == char == char.upper()


def _is_unsure(char: str) -> bool:
    """Whether the index may spell it otherwise than the lines do."""
    return char in "\x00\ufffd" or _has_foreign_case(char)
