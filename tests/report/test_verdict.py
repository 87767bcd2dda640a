"""What the trust sections say, of evaluations made by hand and of a real one."""

import re

import numpy as np
import pytest

from hpo_utils.data.preparation import prepare_data
from hpo_utils.data.split import split_indices
from hpo_utils.report import (
    data_sections,
    result_sections,
    trust_sections,
    verdict,
    winner_sections,
)
from hpo_utils.report.page import Report
from hpo_utils.study.search import run_study
from hpo_utils.training.test_looks import note_look
from hpo_utils.winner.settle import settle_winner, study_data

SECTIONS = [
    result_sections.show_result,
    result_sections.show_certificate,
    verdict.show_answer,
    verdict.show_race,
    verdict.show_test,
    winner_sections.show_errors,
    winner_sections.show_residuals,
    winner_sections.show_worst,
    winner_sections.show_sensitivity,
    trust_sections.show_uncertainty,
    trust_sections.show_folds,
    trust_sections.show_physics,
    trust_sections.show_split,
    verdict.show_bundle,
]


@pytest.fixture
def report():
    return Report("04_analyze.ipynb")


def found(*verdicts, over_mean=None):
    """An examination of targets a, b, … with these verdicts against the best baseline."""
    names = "abcdef"[: len(verdicts)]
    over_mean = over_mean or ["better"] * len(verdicts)
    return {
        "validation": dict.fromkeys(names),
        "n_test_groups": None,
        "n_test_units": 100,
        "best_baseline": ["ridge"] * len(verdicts),
        "skill": [{"verdict": v, "interval": (0.0, 1.0)} for v in verdicts],
        "skill_over_mean": {"network": [{"verdict": v} for v in over_mean],
                            "ridge": [{"verdict": "unclear"} for _ in verdicts]},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("examination", "said"),
    [
        (found("better", "better"), "The network beats the best baseline for **2 of 2** targets."),
        (found("better", "worse"), "for **1 of 2** targets (a). **It is worse than the best"
                                   " baseline for b.**"),
        (found("unclear", "better"), "For a it cannot be told from the best baseline."),
        (found("better"), "**The network beats the best baseline.**"),
        (found("worse"), "**The network is worse than the best baseline.**"),
        (found("unclear"), "The network cannot be told from the best baseline."),
        (found("worse", "better", over_mean=["unclear", "better"]), "beyond chance for a."),
        (found("unclear", "worse", over_mean=["unclear", "worse"]), "**No model beats the mean**"),
        (found("better", over_mean=["worse"]), "**No model beats the mean**"),
        (found("better", "better", over_mean=["worse", "better"]),
         "targets (b). For a it beats the best baseline, too, but is not shown to beat the mean."
         " Taken over all targets and models together, none beats the mean beyond chance for a."),
    ],
)  # fmt: skip
def test_the_sentence_about_baselines(examination, said):
    assert said in verdict.beats_baselines(examination)


def race(gap=0.01, **second):
    other = {
        "trial": 2,
        "is_base": False,
        "mean": 1.5,
        "p_value": 0.5,
        "ratio_interval": (1.1, 1.3),
        "scores": [1.0, 2.0],
        "beaten": False,
        **second,
    }
    first = {"trial": 7, "is_base": False, "mean": 1.05, "p_value": None, "scores": [1.0, 1.1]}
    return {"contenders": [first, other], "gap": gap, "gap_by_chance": 0.015, "confidence": 0.95,
            "best_trial": 2, "raced": True}  # fmt: skip


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        (
            ("better", "better"),
            "samples: The network beats the best baseline for **2 of 2** targets.",
        ),
        (
            ("better", "worse"),
            "**1 of 2** targets (a). **It is worse than the best baseline for b.**",
        ),
        (("unclear", "worse"), "For a it cannot be told from the best baseline."),
        (("better",), "By 2 folds together, 90 samples: **The network beats the best baseline.**"),
    ],
)
def test_the_sentence_about_all_folds(verdicts, said):
    skill = [{"verdict": verdict} for verdict in verdicts]
    folds = {"folds": [0, 2], "n_samples": 90, "n_units": 30, "skill": skill,
             "skill_over_mean": [{"verdict": "better"}] * 2}  # fmt: skip
    assert said in verdict.sentence_on_folds(folds, "ab"[: len(verdicts)])
    in_vain = {**folds, "skill_over_mean": [{"verdict": "unclear"}] * 2}
    assert "**The network beats" not in verdict.sentence_on_folds(in_vain, "ab"[: len(verdicts)])
    assert "too few" in verdict.sentence_on_folds({**folds, "n_units": 7}, "ab"[: len(verdicts)])


def test_too_few_groups_are_said():
    examination = found("unclear", "unclear")
    examination["skill"] = [
        {"skill": skill, "verdict": "unclear", "interval": (None, None)} for skill in (0.2, -0.3)
    ]
    examination["n_test_groups"] = examination["n_test_units"] = 2
    assert verdict.beats_baselines(examination).startswith("**The test part has too few groups")


@pytest.mark.parametrize(
    ("evaluation", "said"),
    [
        (race(), "comes first. Its lead over trial 2 is within chance."),
        (race(), "0.0100 worse on its fresh seeds than its score in the study. The luck of one"),
        (
            race(gap=-0.02),
            "0.0200 better on its fresh seeds than its score in the study. The luck",
        ),
        (race(p_value=0.01), "It is better beyond chance than trial 2."),
        (race(p_value=0.06), "Its lead over trial 2 is within chance."),
        (race(p_value=0.01, ratio_interval=(0.9, 1.5)), "Its lead over trial 2 is within chance."),
        (
            race(p_value=0.01, ratio_interval=(None, None)),
            "Its lead over trial 2 is within chance.",
        ),
        (race(beaten=True), "comes first. Given up on the way, which proves little: trial 2. The"),
        (race(mean=None, beaten=True), "comes first. Diverged on a fresh seed: trial 2. The"),
        ({**race(), "gap_by_chance": None}, "than its score in the study."),
        (race(gap=None), "The study's best, trial 2, diverged on a fresh seed."),
        ({**race(gap=None), "raced": False}, "nobody asked whether luck made it the best"),
    ],
)
def test_the_sentence_about_number_one(evaluation, said):
    assert said in verdict.number_one(evaluation)


def test_every_section_of_a_settled_study(report, settled, capsys):
    cfg, study = settled
    for section in SECTIONS:
        section(report, study, cfg)
    data_sections.show_audit(report, study_data(study, cfg))
    said = capsys.readouterr().out
    for text in ("Trained again with 2 fresh seeds", "The leakage audit found no leak",
                 "single samples", "for the winner (trial",
                 "with its constraints and", "There are no groups to keep together",
                 "fractions do not sum to 1", "inside, calibrated to 9",
                     "samples in 4 of 5 folds, each predicted once", "By 4 folds together",
                     "Fold 4 chose them",
                 "--out y.csv --half-width half_width.csv", "network without constraints",
                 "R² lost in the validation part when", "measured"):  # fmt: skip
        assert text in said, text
    assert said.count("[figure: ") == 8
    assert re.search(r"for the winner \(trial \d.* of study smoke, .*\), \d+ by trials", said)


def test_an_unsettled_study_says_so_and_shows_no_test_number(report, make_config, capsys):
    cfg = make_config("training.epochs=1", **{"study.n_trials": 1})
    study = run_study(cfg)
    capsys.readouterr()
    for section in SECTIONS:
        section(report, study, cfg)
    said = capsys.readouterr().out.splitlines()
    assert sorted(set(said)) == sorted({verdict.UNSETTLED, verdict.NO_WINNER})
    assert len(said) == len(SECTIONS)
    assert said.count(verdict.UNSETTLED) == 1


def test_a_study_of_which_all_trials_diverged_says_so(report, make_config, make_arrays, capsys):
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(40, 2, 16)).astype(np.float32), rng.uniform(size=(40, 2))
    rows = split_indices(40, make_config().data_split)
    t[rows["val"][0], 1] = 9.96921e36
    meant = {"dataset.accept_outliers": ["target 1"], "dataset.downsample_factor": 1}
    cfg = make_config("training.epochs=1", **make_arrays(x, t, **meant), **{"study.n_trials": 2})
    study = run_study(cfg)
    assert [trial.state.name for trial in study.trials] == ["PRUNED"] * 2
    said = capsys.readouterr().out
    assert "the validation score must be finite" in said
    assert "learning_rate" not in said  # which has nothing to do with it
    for ask in (lambda: run_study(cfg), lambda: settle_winner(study, cfg),
                lambda: verdict.show_answer(report, study, cfg)):  # fmt: skip
        ask()
        said = capsys.readouterr().out
        assert "No trial of study smoke was completed" in said
        assert "2 diverged, as by DivergenceError: the validation score" in said
        assert "to its end" not in said


def test_a_study_that_went_on_is_told(report, settled, capsys, monkeypatch):
    cfg, study = settled
    monkeypatch.setattr(verdict, "count_finished", lambda _: 9)
    verdict.show_answer(report, study, cfg)
    assert "settled when the study had 2 trials; now it has 9" in capsys.readouterr().out


def test_a_second_winner_is_told(make_config):
    data = prepare_data(make_config())
    for name in ("one", "two"):
        assert "more than one winner" not in verdict.sentence_on_looks(data)
        for _ in range(2):  # the same winner may be examined again
            note_look(data, f"trial 3 of study {name}", "winner")
    note_look(data, "2026-01-01/00-00-00", "by hand")
    said = verdict.sentence_on_looks(data)
    assert "It has judged more than one winner" in said
    assert "0 by trials of studies and 1 by hand" in said
