"""Texts that stand in a table more than once, word for word or nearly.

A group is a list of rows, ascending, and groups are in the order of their first rows. An empty text
belongs to none.
"""

import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any
from zlib import crc32

Groups = list[list[int]]

SIMILARITY = 0.8  # of near duplicates, at the least: shared shingles of all shingles of both

_SHINGLE = 5  # letters
_READ = 20_000  # letters of a text that are compared
# Bands of a sketch and hashes in each: two texts of similarity 0.8 are compared all but once in
# 4,500 times, those of 0.5 still in two of three. What is compared is compared exactly.
_BANDS, _HASHES = 16, 4
_CROWD = 50  # texts of a group that others are compared with: bounds the time for one huge group


def normalise(text: str) -> str:
    """A text without what tells no two texts apart: case, width, punctuation and spaces."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(text.translate(_punctuation()).split()) or " ".join(text.split())


def exact_groups(texts: Sequence[str]) -> Groups:
    """Rows of equal text, as `normalise` has it."""
    return [rows for rows in _rows_by_text(texts).values() if len(rows) > 1]


def near_groups(texts: Sequence[str], similarity: float = SIMILARITY) -> Groups:
    """Rows of two and more texts that differ and are nearly the same.

    Two texts are, if of the runs of 5 letters that occur in either a share of `similarity` occurs
    in both (Jaccard); a group is what is linked by such pairs. Candidates are found by MinHash
    (Broder 1997), so the time grows with the rows and not with their square. Of a text the first
    20,000 letters count.
    """
    from datasketch import MinHash, MinHashLSH

    rows_of = _rows_by_text(texts)
    distinct = list(rows_of)
    hashes = _BANDS * _HASHES
    index = MinHashLSH(num_perm=hashes, params=(_BANDS, _HASHES))
    shingles = ([shingle.encode("utf-8", "replace") for shingle in _shingles(t)] for t in distinct)
    sketches = MinHash.generator(shingles, num_perm=hashes, hashfunc=crc32)
    group_of = [[i] for i in range(len(distinct))]
    for i, sketch in enumerate(sketches):
        own = None
        candidates: list[Any] = index.query(sketch)
        for other in sorted(candidates):
            if group_of[other] is group_of[i]:
                continue
            own = own or _shingles(distinct[i])
            if _jaccard(own, _shingles(distinct[other])) >= similarity:
                _merge(group_of, i, other)
        if len(group_of[i]) <= _CROWD:
            index.insert(i, sketch)
    groups = {id(group): group for group in group_of if len(group) > 1}.values()
    found = [sorted(row for i in group for row in rows_of[distinct[i]]) for group in groups]
    return sorted(found)


def _rows_by_text(texts: Sequence[str]) -> dict[str, list[int]]:
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        if key := normalise(text):
            rows_of[key].append(row)
    return rows_of


def _merge(group_of: list[list[int]], a: int, b: int) -> None:
    """The smaller group becomes part of the other."""
    small, large = sorted((group_of[a], group_of[b]), key=len)
    large += small
    for member in small:
        group_of[member] = large


def _shingles(text: str) -> set[str]:
    text = text[:_READ]
    return {text[i : i + _SHINGLE] for i in range(max(len(text) - _SHINGLE + 1, 1))}


def _jaccard(a: set[str], b: set[str]) -> float:
    both = len(a & b)
    return both / (len(a) + len(b) - both)


@cache
def _punctuation() -> dict[int, str]:
    def every() -> Iterator[int]:
        for code in range(sys.maxunicode + 1):
            if unicodedata.category(chr(code)).startswith("P"):
                yield code

    return dict.fromkeys(every(), " ")
