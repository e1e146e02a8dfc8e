"""Search: BM25 over the text, and more for a word of the name. A word that nobody wrote stands for the nearest ones
that somebody did.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from alertbot.enrich.runbooks.model import Runbook

#: What of a query is looked at.
MAX_QUERY: Final = 200
MAX_WORDS: Final = 12

_NAME_BONUS, _HEADING_WEIGHT = 4.0, 2
_K, _B = 1.2, 0.75
_PREFIX, _KIN, _NEAR = 0.7, 0.5, (1.0, 0.8, 0.6)
#: `failing`, `failed` and `failure` have their beginning in common, if it is long enough to say anything.
_ENDING: Final = re.compile(r"(?<=[^\W\d_]{4})(?:ing|ed|ures?|ers?|ions?|es)$")


@lru_cache(maxsize=50_000)
def _parts(word: str) -> tuple[str, ...]:
    """The words of `HighErrorRate` or `alertbot_store_up`, in lower case, and singular as far as an `s` tells."""
    found = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_A-Za-z]+", word)
    return tuple(_singular(part.casefold()) for part in found)


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] not in "sui" else word


def _words(text: str) -> Iterator[str]:
    for word in re.findall(r"\w+", text):
        parts = _parts(word)
        if len(parts) > 1:
            yield _singular(word.casefold())
        yield from parts


class Index:
    """Words → the runbooks that have them, with how much each weighs there."""

    def __init__(self, runbooks: Sequence[Runbook]) -> None:
        counts = [_counts(r) for r in runbooks]
        named = [set(_words(" ".join((r.name, r.title, *(n.text for n in r.alerts))))) for r in runbooks]
        lengths = [sum(c.values()) for c in counts]
        mean = sum(lengths) / max(len(lengths), 1) or 1.0
        self.postings: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for i, (count, length) in enumerate(zip(counts, lengths, strict=True)):
            norm = _K * (1 - _B + _B * length / mean)
            for word in count.keys() | named[i]:
                weight = count[word] * (_K + 1) / (count[word] + norm)
                self.postings[word].append((i, weight + _NAME_BONUS * (word in named[i])))
        total = len(runbooks)
        self.rarity = {w: math.log(1 + (total - len(p) + 0.5) / (len(p) + 0.5)) for w, p in self.postings.items()}
        self.words = sorted(self.postings)
        self.by_length: dict[int, list[tuple[str, int]]] = defaultdict(list)
        for word in self.words:
            self.by_length[len(word)].append((word, _letters(word)))

    def search(self, query: str) -> list[tuple[int, float]]:
        """The numbers of the runbooks that have a word of the query, with their scores, the best first."""
        terms = self._terms(query[:MAX_QUERY])
        scores: dict[int, float] = defaultdict(float)
        matched: Counter[int] = Counter()
        for term in terms:
            best: dict[int, float] = {}
            # A longer word is no better for being rare.
            most = self.rarity.get(term, math.inf)
            for word, nearness in self._near(term):
                weight = nearness * min(self.rarity[word], most)
                for i, impact in self.postings[word]:
                    if weight * impact > best.get(i, 0.0):
                        best[i] = weight * impact
            for i, score in best.items():
                scores[i] += score
                matched[i] += 1
        # Who has all of the words comes before who has one of them often.
        found = [(i, score * (matched[i] / len(terms)) ** 2) for i, score in scores.items()]
        return sorted(found, key=lambda f: (-f[1], f[0]))

    def _terms(self, query: str) -> list[str]:
        """The words to look for; `HighErrorRate` is one where somebody wrote it so, else three."""
        terms: dict[str, None] = {}
        for word in re.findall(r"\w+", query):
            whole = _singular(word.casefold())
            terms.update(dict.fromkeys((whole,) if whole in self.postings else _parts(word)))
        return list(terms)[:MAX_WORDS]

    def _near(self, term: str) -> Iterator[tuple[str, float]]:
        """What a word may have meant: itself, what begins with it or like it, or else what is a typo or two away."""
        found = False
        if term in self.postings:
            found = True
            yield term, 1.0
        for start, nearness in ((term, _PREFIX), (_ENDING.sub("", term), _KIN)):
            if len(start) < 3 or (nearness == _KIN and start == term):
                continue
            for i in range(bisect_left(self.words, start), len(self.words)):
                if not self.words[i].startswith(start):
                    break
                if self.words[i] != term:
                    found = True
                    yield self.words[i], nearness
        allowed = 0 if found or len(term) < 4 else 1 if len(term) < 8 else 2
        letters = _letters(term)
        for length in range(len(term) - allowed, len(term) + allowed + 1) if allowed else ():
            for word, others in self.by_length.get(length, ()):
                # Few mistake the first letter and one more. Each typo changes two letters of the set at most. This
                # leaves few words to compare.
                most = allowed if word[0] == term[0] else 1
                if (letters ^ others).bit_count() <= 2 * most and (n := typos(term, word, most)) <= most:
                    yield word, _NEAR[n]


def _counts(runbook: Runbook) -> Counter[str]:
    """How often each word stands in the text; in a heading it counts for more."""
    headings = " ".join(s.title for s in runbook.sections)
    body = (runbook.owner, runbook.severity, *(line for s in runbook.sections for line, _ in s.lines))
    count = Counter(_words(" ".join(body)))
    count.update(word for word in _words(headings) for _ in range(_HEADING_WEIGHT))
    return count


def _letters(word: str) -> int:
    """The set of letters of a word, as bits."""
    bits = 0
    for char in word:
        bits |= 1 << (ord(char) & 63)
    return bits


def typos(a: str, b: str, most: int) -> int:
    """How many letters are missing, too many, wrong or swapped with their neighbour; `most` + 1 where it is more."""
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            n = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                n = min(n, before[j - 2] + 1)
            row.append(n)
        if min(row) > most:
            return most + 1
        before, last = last, row
    return min(last[-1], most + 1)
