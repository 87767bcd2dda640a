"""The language of the report: its texts are written in English, and put into another one here.

``language_<name>.yaml`` maps each English text to the other language. ``{name}`` in both stands
for what differs from study to study: ``trial {n}`` is found in ``trial 12``.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, Formatter, FuncFormatter

ENGLISH = "en"
LANGUAGES = (ENGLISH, "ja")
LINES = re.compile(r"(\n+)")
SENTENCES = re.compile(r"((?<=[.:])(?:\*\*)?\s+(?=[A-Z*`]|fANOVA))")
PLACE = r"(?:(?!\.\s).)+?"  # what may stand for {name}: nothing that goes on in another sentence


class Language:
    """Puts texts, tables and figures into one language; what it does not know stays English.

    Parameters
    ----------
    name
        One of ``LANGUAGES``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.unknown: set[str] = set()  # texts that were asked for in vain
        self._fixed, self._patterns = _catalogue(name)

    def text(self, english: str) -> str:
        """Return a text: as a whole if the catalogue has it, else line by line, or by sentence."""
        if self.name == ENGLISH or not english.strip():
            return english
        if (whole := self._known(english)) is not None:
            return whole
        for breaks in (LINES, SENTENCES):
            pieces = breaks.split(english)  # text, break, text, break, ..., text
            if len(pieces) > 1:
                pieces[::2] = [self.text(piece) for piece in pieces[::2]]
                return "".join(pieces)
        self.unknown.add(english)
        return english

    def table(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table with its headings and words; numbers and names stay."""
        if self.name == ENGLISH:
            return table
        words = table.map(self._word).rename(index=self._word, columns=self._word)
        words.index.names = [self._word(name) for name in words.index.names]
        return words

    def figure(self, figure: Figure) -> None:
        """Put every text of a figure into the language, in its place."""
        if self.name == ENGLISH:
            return
        for artist in figure.findobj(Text):
            artist.set_text("\n".join(map(self._word, artist.get_text().split("\n"))))
        for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
            formatter = axis.get_major_formatter()
            if isinstance(formatter, FixedFormatter | FuncFormatter):  # they write labels anew
                axis.set_major_formatter(self._put(formatter))

    def _put(self, labels: Formatter) -> FuncFormatter:
        """Return what writes the labels of an axis in the language."""
        return FuncFormatter(lambda value, place: str(self._word(labels(value, place))))

    def _words(self, listed: str) -> str:
        """Return a text that may be a list: findings one by one, and names if each is known."""
        known = [item for item in map(self._known, listed.split(", ")) if item is not None]
        if len(known) > listed.count(", "):
            return ", ".join(known)
        if (whole := self._known(listed)) is not None:
            return whole
        for mark in ("; ", ": "):
            if mark in listed:
                return mark.join(map(self._words, listed.split(mark, 1)))
        return listed

    def _word(self, english: Any) -> Any:
        return self._words(english) if isinstance(english, str) else english

    def _known(self, english: str) -> str | None:
        """Return what the catalogue has for a text as a whole; None if it has nothing."""
        if english in self._fixed:
            return self._fixed[english]
        for pattern, other in self._patterns:
            if found := pattern.fullmatch(english):
                return other.format(**{k: self._words(v) for k, v in found.groupdict().items()})
        return None


@cache
def _catalogue(name: str) -> tuple[dict[str, str], list[tuple[re.Pattern[str], str]]]:
    """Return the texts of a language: those without ``{}``, and patterns, the most exact first."""
    if name == ENGLISH:
        return {}, []
    file = Path(__file__).parent / f"language_{name}.yaml"
    texts: dict[str, str] = yaml.safe_load(file.read_text(encoding="utf-8"))
    fixed = {english: other for english, other in texts.items() if "{" not in english}
    patterns = [(_pattern(text), text, texts[text]) for text in texts.keys() - fixed.keys()]
    patterns.sort(key=lambda each: len(re.sub(r"{\w+}", "", each[1])), reverse=True)
    return fixed, [(pattern, other) for pattern, _, other in patterns]


def _pattern(template: str) -> re.Pattern[str]:
    """Return the expression that a template stands for."""
    pieces = re.split(r"{(\w+)}", template)  # text, name, text, name, ..., text
    parts = [f"(?P<{p}>{PLACE})" if i % 2 else re.escape(p) for i, p in enumerate(pieces)]
    return re.compile("".join(parts))
