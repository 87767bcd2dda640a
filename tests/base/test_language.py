import ast
import json
from string import Formatter

import pytest
from babel.messages.pofile import read_po
from optuna.trial import TrialState

from hpo_utils.base.config import load_config
from hpo_utils.base.errors import ConfigError
from hpo_utils.base.language import LANGUAGES, LOCALE, _, language, use_language
from hpo_utils.base.paths import project_root

OTHERS = [name for name in LANGUAGES if name != "en"]


def catalogue(name):
    with (LOCALE / f"{name}.po").open("rb") as file:
        return {entry.id: entry for entry in read_po(file) if entry.id}


def nodes(kind):
    """Return all nodes of a kind in the package's code."""
    for file in (project_root() / "hpo_utils").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, kind):
                yield node


def marked():
    """Return what is given to ``_`` in the code."""
    return [call.args[0] for call in nodes(ast.Call) if getattr(call.func, "id", "") == "_"]


def lines_of_the_page():
    """Return the lines of 04_analyze that its page shows."""
    notebook = json.loads((project_root() / "notebooks/04_analyze.ipynb").read_text("utf-8"))
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and not source.startswith(
            ("## Parameters", "## Configuration")
        ):
            yield from (
                line for line in source.split("\n") if line.strip() not in ("", "</details>")
            )


def test_the_configuration_knows_the_languages():
    for name in LANGUAGES:
        assert load_config(None, [f"report.language={name}"]).report.language == name
    with pytest.raises(ConfigError, match=r"report.language must be one of en, ja, got 'fr'"):
        load_config(None, ["report.language=fr"])


@pytest.mark.parametrize("name", OTHERS)
def test_every_text_is_translated_and_no_translation_is_left_over(name):
    wanted = {text.value for text in marked() if isinstance(text, ast.Constant)}
    written = {str(text.value) for text in nodes(ast.Constant)}
    written |= {text.partition(": ")[0] for text in written}  # of a recorded sentence
    written |= {state.name.lower() for state in TrialState}
    lines, known = set(lines_of_the_page()), set(catalogue(name))
    assert len(wanted) > 200
    assert len(lines) > 40
    assert not (wanted | lines) - known, "add these to the catalogue"
    assert not known - written - lines, "these are no longer used"


@pytest.mark.parametrize("name", OTHERS)
def test_a_translation_has_the_places_of_its_text_and_the_same_space_around_it(name):
    for english, entry in catalogue(name).items():
        assert entry.string, english
        assert not entry.fuzzy, english
        assert english == english.strip(), english
        assert entry.string == entry.string.strip(), english
        places = [
            {field for _text, field, *__ in Formatter().parse(text) if field is not None}
            for text in (english, entry.string)
        ]
        assert places[0] == places[1], english


def test_no_text_is_filled_in_before_it_is_translated():
    assert not [text.lineno for text in marked() if isinstance(text, ast.JoinedStr | ast.BinOp)]


def test_a_language_holds_until_another_one_is_used():
    assert _("trial {n} (base)").format(n=3) == "trial 3 (base)"
    use_language("ja")
    assert _("trial {n} (base)").format(n=3) == "トライアル 3(基本設定)"
    with language("en"):
        assert _("best so far") == "best so far"
    assert _("best so far") == "それまでの最良"
    use_language("en")
    assert _("best so far") == "best so far"


def test_what_has_no_translation_stays():
    with language("ja"):
        assert _("A sentence of tomorrow.") == "A sentence of tomorrow."
        assert _("") == ""


def test_a_name_with_braces_or_expressions_is_taken_as_it_is():
    with language("ja"):
        assert _("{name} (given up)").format(name="{n} [x] \\d") == "{n} [x] \\d(打ち切り)"
