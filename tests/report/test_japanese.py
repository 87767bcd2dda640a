"""Every section in Japanese, on a real study: nothing is left in English but names."""

import re

import numpy as np
import pandas as pd
import pytest
from conftest import study_of
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from hpo_utils.base.formatting import short_name
from hpo_utils.base.language import language
from hpo_utils.data.audit import audit_leakage
from hpo_utils.data.preparation import prepare_data
from hpo_utils.report import (
    data_sections,
    data_tables,
    page,
    recorded,
    result_sections,
    study_sections,
    trust_sections,
    verdict,
    winner_sections,
)
from hpo_utils.report.page import Report
from hpo_utils.winner.settle import study_data


@pytest.fixture
def japanese():
    with language("ja"):
        yield


def english_words(text):
    return re.findall("[a-z]{4,}", text)


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
    assert any(finding.verdict == "leak" and "samples" not in finding.text for finding in findings)
    assert not english_words("".join(finding.text for finding in findings))
    table = data_tables.audit_table(audit_leakage(data))  # as the file has them
    assert not english_words("".join(table.to_numpy().ravel()) + "".join(table.index))


def test_a_recorded_sentence_keeps_its_detail(japanese):
    said = recorded.recorded("The other folds cannot be prepared: fold 3 has 2 samples: too few.")
    assert said == "他のフォールドを準備できません: fold 3 has 2 samples: too few."
    assert recorded.score_name("validation 1 - mean R², u").startswith("検証データの")
    assert recorded.score_name("validation 1 - mean R², a, b alone") == (
        "検証データの 1 - 平均 R²(a, b のみ)"
    )


def test_all_that_a_report_shows_is_japanese(settled, monkeypatch):
    cfg, study = settled
    shown, bundle = [], page._mime_bundle

    def keep(item, alt):
        if isinstance(item, Figure):
            FigureCanvasAgg(item).draw()  # writes the labels of the axes; a letter without a
            shown.extend(artist.get_text() for artist in item.findobj(Text))  # glyph would fail
        elif isinstance(item, pd.DataFrame):
            cells = [*item.index, *item.columns, *item.index.names, *item.to_numpy().ravel()]
            shown.extend(map(str, cells))
        else:
            shown.append(re.sub("```.*?```|`.*?`", "", item, flags=re.DOTALL))
        shown.append(alt)
        return bundle(item, alt)

    monkeypatch.setattr(page, "_mime_bundle", keep)
    report = Report("04_analyze.ipynb", "ja")
    for section in (
        result_sections.show_result,
        result_sections.show_certificate,
        verdict.show_answer,
        verdict.show_test,
        verdict.show_race,
        trust_sections.show_uncertainty,
        trust_sections.show_folds,
        trust_sections.show_physics,
        trust_sections.show_split,
        study_sections.show_overview,
        study_sections.show_best_trial,
        winner_sections.show_errors,
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
    for section in (
        data_sections.show_parts,
        data_sections.show_audit,
        data_sections.show_distributions,
        data_sections.show_correlations,
        data_sections.show_samples,
    ):
        section(report, data)
    report.show(data_tables.channels_table(data))
    large = study_of(40, 5)
    study_sections.show_overview(report, large, cfg)
    for section in (study_sections.show_search, study_sections.show_importances,
                    study_sections.show_parameters, study_sections.show_interactions):  # fmt: skip
        section(report, large)
    names = {*data.target_names, *data.manifest["channel_names"], *data.manifest["axis_names"]}
    names |= {short_name(name) for trial in [*study.trials, *large.trials] for name in trial.params}
    names |= {study.study_name, large.study_name, "True", "False", "Study", "mathdefault"}
    left = {text.replace("\n", " ") for text in shown if english_words(text)}
    assert len(shown) > 500
    assert not {text for text in left if not any(name in text for name in names)}
