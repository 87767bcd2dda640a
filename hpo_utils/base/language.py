"""The language of what is shown: English in the code, others in gettext's catalogues.

Every text that a report can show passes through ``_``, which returns it in the language in use.
``locale/<language>.po`` holds the translations; it is read as it is, without a compiled copy beside
it. Texts that are kept in files, printed on the terminal or raised as errors stay English.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path

ENGLISH = "en"
LANGUAGES = (ENGLISH, "ja")
LOCALE = Path(__file__).parent / "locale"

_catalogue = NullTranslations()  # of the language in use


def _(english: str) -> str:
    """Return a text in the language in use; a text without translation stays English.

    Texts with values are translated before they are filled in: ``_("trial {n}").format(n=3)``.
    """
    return _catalogue.gettext(english) if english else ""  # gettext answers "" with its header


def use_language(name: str) -> None:
    """Show everything from now on in a language of ``LANGUAGES``."""
    global _catalogue
    _catalogue = _read(name)


@contextmanager
def language(name: str) -> Iterator[None]:
    """Show what is made within the block in a language of ``LANGUAGES``."""
    global _catalogue
    before, _catalogue = _catalogue, _read(name)
    try:
        yield
    finally:
        _catalogue = before


@cache
def _read(name: str) -> NullTranslations:
    """Return the catalogue of a language."""
    if name == ENGLISH:
        return NullTranslations()
    from babel.messages import mofile, pofile  # not needed for English

    compiled = io.BytesIO()
    with (LOCALE / f"{name}.po").open("rb") as file:
        mofile.write_mo(compiled, pofile.read_po(file, locale=name))
    compiled.seek(0)
    return GNUTranslations(compiled)
