import re
from string import Formatter

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import study_of
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from hpo_utils.base.config import load_config
from hpo_utils.base.errors import ConfigError
from hpo_utils.base.formatting import short_name
from hpo_utils.base.paths import project_root
from hpo_utils.base.style import styled
from hpo_utils.data.audit import audit_leakage
from hpo_utils.data.preparation import prepare_data
from hpo_utils.report import data_sections, study_sections, trust_sections, verdict, winner_sections
from hpo_utils.report.language import LANGUAGES, Language
from hpo_utils.report.page import Report
from hpo_utils.report.tables import audit_table
from hpo_utils.winner.settle import study_data

CATALOGUE = yaml.safe_load(
    (project_root() / "hpo_utils/report/language_ja.yaml").read_text(encoding="utf-8")
)


@pytest.fixture
def japanese():
    return Language("ja")


def test_the_configuration_knows_the_languages():
    for name in LANGUAGES:
        assert load_config(None, [f"report.language={name}"]).report.language == name
    with pytest.raises(ConfigError, match=r"report.language must be one of en, ja, got 'fr'"):
        load_config(None, ["report.language=fr"])


def test_what_leaks_is_said_without_english_but_for_names(japanese, make_config, make_arrays):
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(2, 40, 4, 8, 12)), rng.normal(size=(40, 2))
    x = x[0].astype(np.float32)
    x[:, 0] = rng.normal(size=(40, 1, 1))  # a setting
    x[:, 2] = t[:, :1, None]  # and another, which is a target
    x[20:], t[20:] = x[:20], t[:20]  # copies
    data = prepare_data(make_config(**make_arrays(x, t), **{
        "dataset.channel_names": ["p", "q", "r", "s"], "dataset.target_names": ["u", "v"],
    }))  # fmt: skip
    findings = audit_leakage(data)
    leaks = [f"{each.check}: {each.found}" for each in findings if each.verdict == "leak"]
    assert leaks
    flattered = "**The held-out parts leak**, so every score here is flattered"
    assert not re.findall("[a-z]{4,}", japanese.text(f"{flattered}: {'; '.join(leaks)}."))
    cells = japanese.table(audit_table(findings)).to_numpy().ravel()
    assert not re.findall("[a-z]{4,}", "".join(cells))


def test_english_is_left_as_it_is():
    english, table = Language("en"), pd.DataFrame({"target": ["better"]})
    assert english.text("Study **a**: 3 trials.") == "Study **a**: 3 trials."
    pd.testing.assert_frame_equal(english.table(table), table)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("trial 12", "トライアル 12"),
        ("trial 12 (base)", "トライアル 12(基本設定)"),  # the more exact of two that fit
        ("best so far", "それまでの最良"),
        ("R² of trial 3", "トライアル 3 の R²"),
        ("predicted [m/s]", "予測 [m/s]"),
        ("Every training on a random split diverged. Every training scores better there.",
         "無作為な分割での学習は、すべて発散しました。 どの学習もそこではスコアが良くなります。"),
        ("# 4 · Analyse the study\n\n## 1 The answer", "# 4 · Studyの解析\n\n## 1 結論"),
        ("Its lead over trial 0 (base), trial 4 is within chance.",
         "これらのシードと検証サンプルでは、トライアル 0(基本設定), トライアル 4 との差は"
         "偶然の範囲を超えません。"),
        ("", ""),
    ],
)  # fmt: skip
def test_texts_of_one_and_of_several_sentences(japanese, text, expected):
    assert japanese.text(text) == expected
    assert not japanese.unknown


def test_what_is_not_known_stays_and_is_noted(japanese):
    assert japanese.text("A sentence of tomorrow. best so far") == (
        "A sentence of tomorrow. best so far"
    )
    assert japanese.unknown


def test_names_within_a_text_are_put_into_the_language_too(japanese):
    assert "完了 3、枝刈り 1、失敗 0" in japanese.text(
        "Study **a**: 4 trials (3 complete, 1 pruned, 0 fail), 12 s of training in all."
    )


def test_a_name_with_braces_or_expressions_is_taken_as_it_is(japanese):
    assert japanese.text("trial {n} [x] \\d") == "トライアル {n} [x] \\d"


def test_a_table_keeps_numbers_and_names(japanese):
    table = pd.DataFrame({"verdict": ["better", "unclear"], "R²": [0.5, 0.1]}, ["u", "v"])
    table.index.name = "target"
    found = japanese.table(table)
    assert list(found.columns) == ["判定", "R²"]
    assert list(found["判定"]) == ["優れる", "不明"]
    assert list(found.index) == ["u", "v"]
    assert found.index.name == "ターゲット"
    assert list(found["R²"]) == [0.5, 0.1]
    assert list(table.columns) == ["verdict", "R²"]


def test_a_figure_has_the_letters_of_its_language(japanese):
    @styled
    def draw():
        figure = Figure()
        figure.add_subplot(title="Optimisation history", xlabel="trial", ylabel="液体の速度")
        return figure

    figure = draw()
    (axes,) = figure.axes
    axes.set_yticks([0.2, 0.5], ["trial 0 (base)", "worker 1"])
    japanese.figure(figure)
    assert axes.get_title(loc="left") == "最適化の履歴"
    FigureCanvasAgg(figure).draw()  # a letter without a glyph warns, and a warning fails
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["トライアル 0(基本設定)", "ワーカー 1"]


def test_both_sides_of_the_catalogue_have_the_same_places():
    for english, other in CATALOGUE.items():
        places = [{name for _, name, _, _ in Formatter().parse(text) if name is not None}
                  for text in (english, other)]  # fmt: skip
        assert places[0] == places[1], english


def test_the_pages_own_text_is_all_there(japanese):
    notebook = nbformat.read(project_root() / "notebooks" / "04_analyze.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and not cell.source.startswith(
            ("## Parameters", "## Configuration")
        ):
            japanese.text(cell.source)
    assert not japanese.unknown


def test_all_that_a_report_shows_is_japanese(settled, monkeypatch):
    """Every section of 04 on a real study: nothing is left in English but names."""
    cfg, study = settled
    left, put_figure, put_table = set(), Language.figure, Language.table

    def figure(words, drawn):
        put_figure(words, drawn)
        FigureCanvasAgg(drawn).draw()  # writes the labels of the axes
        left.update(artist.get_text() for artist in drawn.findobj(Text))

    def table(words, shown):
        found = put_table(words, shown)
        left.update(label for axis in (found.index, found.columns) for label in axis)
        left.update([*found.index.names, *found.to_numpy().ravel()])
        return found

    monkeypatch.setattr(Language, "figure", figure)
    monkeypatch.setattr(Language, "table", table)
    report = Report("04_analyze.ipynb", "ja")
    for section in (
        verdict.show_answer,
        verdict.show_test,
        verdict.show_race,
        trust_sections.show_uncertainty,
        trust_sections.show_folds,
        trust_sections.show_physics,
        trust_sections.show_split,
        study_sections.show_overview,
        study_sections.show_best_trial,
        winner_sections.show_predictions_of_winner,
        winner_sections.show_residuals,
        winner_sections.show_worst,
        winner_sections.show_sensitivity,
        verdict.show_bundle,
    ):
        section(report, study, cfg)
    for section in (
        study_sections.show_search,
        study_sections.show_effort,
        study_sections.show_trials,
        study_sections.show_importances,
        study_sections.show_parameters,
        study_sections.show_trade_off,
        study_sections.show_weights,
    ):
        section(report, study)
    data = study_data(study, cfg)
    data_sections.show_parts(report, data)
    data_sections.show_audit(report, data)
    study_sections.show_overview(report, study_of(40, 5), cfg)
    for section in (study_sections.show_search, study_sections.show_importances,
                    study_sections.show_parameters, study_sections.show_interactions):  # fmt: skip
        section(report, study_of(40, 5))
    assert not report._words.unknown
    names = {*data.target_names, *data.manifest["channel_names"], *data.manifest["axis_names"]}
    names |= {short_name(name) for trial in study.trials for name in trial.params}
    names |= {"True", "False", "Study", "mathdefault"}  # the third is said so in Japanese
    english = {
        text for text in (str(each).replace("\n", " ") for each in left - {None})
        if re.search("[a-z]{4}", text) and not any(name in text for name in names)
    }  # fmt: skip
    assert not english
