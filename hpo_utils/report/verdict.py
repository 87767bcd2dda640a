"""Notebook sections on the winner, compared with the other contenders and the baselines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path

import optuna

from hpo_utils.base.config import Config, read_saved_config
from hpo_utils.base.formatting import percent
from hpo_utils.base.language import _
from hpo_utils.base.paths import relative_to_root, resolve
from hpo_utils.baselines.take_home import mean_shares
from hpo_utils.data.prepared import PreparedData, judged_on
from hpo_utils.data.split import MIN_UNITS
from hpo_utils.insight.winner_plots import plot_race, plot_test_intervals
from hpo_utils.report.data_sections import sentence_on_groups, show_leaks
from hpo_utils.report.page import Report
from hpo_utils.report.recorded import contender_name, score_name
from hpo_utils.report.tables import contenders_table, held_out_table
from hpo_utils.scores.skill import NETWORK, NO_BETTER_THAN_MEAN, joint_verdict
from hpo_utils.study.progress import why_none_completed
from hpo_utils.training.test_looks import BY_HAND, TRIAL, looks_at_test, winners_heard
from hpo_utils.trials.storage import count_finished
from hpo_utils.winner.evaluation import AllFolds, Evaluation, Examination, Standing
from hpo_utils.winner.examination import network_verdict, shares_at_home, validated_in_turn
from hpo_utils.winner.settle import load_evaluation, study_data, winner_directory

UNSETTLED = (
    "The winner of this study is not settled yet, so the test part stays silent: run"
    " `03_optimize` to its end."
)
NO_WINNER = "There is no settled winner yet, so there is nothing to show here."
ONE_TARGET = {
    "better": "**The network beats the best baseline.**",
    NO_BETTER_THAN_MEAN: "The network beats the best baseline, but is not shown to beat the mean.",
    "worse": "**The network is worse than the best baseline.**",
    "unclear": "The network cannot be told from the best baseline.",
}


@dataclass(frozen=True)
class SettledStudy:
    """A study with a settled winner: the results, the data, and the directory of the results."""

    evaluation: Evaluation
    data: PreparedData
    directory: Path

    @property
    def examination(self) -> Examination:
        """Results on the held-out parts."""
        return self.evaluation["examination"]

    @property
    def judged(self) -> PreparedData:
        """The data whose training part the baselines that go home have seen."""
        folds = self.evaluation.get("member_folds")
        if folds is None:  # settled before it was noted: their own files tell
            trained = (self.directory.parents[1] / name for name in self.evaluation["members"])
            folds = [read_saved_config(each).data_split.val_fold or 0 for each in trained]
        return judged_on(self.data, read_saved_config(self.directory / "bundle"), folds)


def when_settled(
    section: Callable[[Report, SettledStudy], None],
) -> Callable[[Report, optuna.Study, Config], None]:
    """Turn a section about the winner into one for any study; say so if there is none."""

    @wraps(section)
    def show(report: Report, study: optuna.Study, cfg: Config) -> None:
        root = resolve(cfg.paths.outputs_root)
        evaluation = load_evaluation(study, root)
        if evaluation is None:
            report.show(_(NO_WINNER))
            return
        directory = winner_directory(root, study.study_name)
        section(report, SettledStudy(evaluation, study_data(study, cfg), directory))

    return show


def show_answer(report: Report, study: optuna.Study, cfg: Config) -> None:
    """Summarise which contender won, whether it beats the baselines, and how certain that is."""
    evaluation = load_evaluation(study, resolve(cfg.paths.outputs_root))
    if evaluation is None:
        report.show(why_none_completed(study) or _(UNSETTLED))
        return
    report.show(beats_baselines(evaluation["examination"]))
    if not isinstance(evaluation["all_folds"], str):
        report.show(sentence_on_folds(evaluation["all_folds"], evaluation["target_names"]))
    report.show(number_one(evaluation))
    show_leaks(report, study_data(study, cfg))
    n_finished = count_finished(study)
    if n_finished != evaluation["n_trials"]:
        report.show(
            _(
                "It was settled when the study had {before} trials; now it has {now}: run"
                " `03_optimize` to its end."
            ).format(before=evaluation["n_trials"], now=n_finished)
        )


def beats_baselines(found: Examination) -> str:
    """Return where the network beats the baselines, and where no model beats the mean."""
    names, skills = list(found["validation"]), found["skill"]
    if found["n_test_units"] < MIN_UNITS:
        drawn = _("samples") if found["n_test_groups"] is None else _("groups")
        if found["n_test_groups"] is None and found["n_test_units"] < found["n_test"]:
            drawn = _("blocks of neighbours")
        n_behind = sum(skill["skill"] is not None and skill["skill"] < 0 for skill in skills)
        return _(
            "**The test part has too few {drawn} to be sure of anything**: of so few no interval"
            " can be drawn, and no model is shown to beat another or the mean. By the numbers of"
            " these few alone, the best baseline errs less than the network for {k} of {n} targets."
            " More {drawn} can tell."
        ).format(drawn=drawn, k=n_behind, n=len(names))
    verdicts = [network_verdict(found, k) for k in range(len(names))]
    hopeless = [
        name
        for k, name in enumerate(names)
        if verdicts[k] != "better"
        and all(skill[k]["verdict"] != "better" for skill in found["skill_over_mean"].values())
    ]
    if len(hopeless) == len(names):
        return _(
            "**No model beats the mean** beyond chance: neither the network nor a baseline is shown"
            " to predict any target better than the training mean. Either the inputs say nothing"
            " about these targets, or the models did not find it."
        )
    said = sentence_on_verdicts(names, verdicts)
    if hopeless:
        said += " " + _(
            "Taken over all targets and models together, none beats the mean beyond chance for"
            " {names}."
        ).format(names=", ".join(hopeless))
    return said


def models_at_home(found: Examination) -> str:
    """Return the models that go home, with their mean shares."""
    return " + ".join(
        _(name) if share is None else f"{share:.2f} {_(name)}"
        for name, share in mean_shares(shares_at_home(found))
    )


def sentence_on_home(found: Examination, asked: str = "auto") -> str:
    """Return what goes home, and for which targets it beats the best baseline.

    ``asked`` is ``evaluation.take_home`` of the study.
    """
    shares = shares_at_home(found)
    why = (
        _("**What goes home: {models}**, which the validation part prefers.")
        if asked == "auto"
        else _("**What goes home: {models}**, as `evaluation.take_home` asks.")
    )
    said = why.format(models=models_at_home(found))
    if list(shares) == [NETWORK] or found["n_test_units"] < MIN_UNITS:
        return said
    names, skills = list(found["validation"]), found["skill_home"]
    for verdict, sentence in (
        ("better", _("In the test part it beats the best baseline for {names}.")),
        ("worse", _("**In the test part it is worse than the best baseline for {names}.**")),
        ("unclear", _("For {names} the test part cannot tell it from the best baseline.")),
    ):
        if some := [n for n, s in zip(names, skills, strict=True) if s["verdict"] == verdict]:
            said += " " + sentence.format(names=", ".join(some))
    return said


def sentence_on_folds(folds: AllFolds, names: Sequence[str]) -> str:
    """Return for which targets the network beats the best baseline in the folds jointly."""
    together = _("By {k} folds together, {n} samples:").format(
        k=len(folds["folds"]), n=folds["n_samples"]
    )
    if folds["n_units"] < MIN_UNITS:
        return together + " " + _("Still too few to be sure of anything.")
    verdicts = list(map(joint_verdict, folds["skill"], folds["skill_over_mean"]))
    return f"{together} {sentence_on_verdicts(names, verdicts)}"


def sentence_on_verdicts(names: Sequence[str], verdicts: Sequence[str]) -> str:
    """Return for which targets the network beats the best baseline, and for which not."""
    if len(names) == 1:
        return _(ONE_TARGET[verdicts[0]])
    better, vain, worse, unclear = (
        [name for name, verdict in zip(names, verdicts, strict=True) if verdict == wanted]
        for wanted in ONE_TARGET
    )
    said = _("The network beats the best baseline for **{k} of {n}** targets.")
    if 0 < len(better) < len(names):
        said = _("The network beats the best baseline for **{k} of {n}** targets ({names}).")
    said = said.format(k=len(better), n=len(names), names=", ".join(better))
    in_vain = _("For {names} it beats the best baseline, too, but is not shown to beat the mean.")
    for some, sentence in (
        (vain, in_vain),
        (worse, _("**It is worse than the best baseline for {names}.**")),
        (unclear, _("For {names} it cannot be told from the best baseline.")),
    ):  # fmt: skip
        if some:
            said += " " + sentence.format(names=", ".join(some))
    return said


def number_one(evaluation: Evaluation) -> str:
    """Return which contender won on fresh seeds, how surely, and how optimistic the study was."""
    first, *others = evaluation["contenders"]
    if not evaluation["raced"]:
        return _(
            "The winner is **{name}**, the study's best as it is: with `evaluation.n_seeds` 0"
            " nobody asked whether luck made it the best."
        ).format(name=contender_name(first))
    n_seeds = len(first["scores"])
    said = _("Trained again with {n} fresh seeds, **{name}** comes first.")
    if n_seeds == 1:
        said = _("Trained again with 1 fresh seed, **{name}** comes first.")
    said = said.format(n=n_seeds, name=contender_name(first))
    finite = [other for other in others if other["mean"] is not None]
    rivals = [other for other in finite if not other["beaten"]]
    alike = [each for each in rivals if not surely_worse(each, evaluation["confidence"])]
    for some, sentence in (
        (alike, _("Its lead over {names} is within chance.")),
        ([] if alike else rivals, _("It is better beyond chance than {names}.")),
        (
            [other for other in finite if other["beaten"]],
            _("Given up on the way, which proves little: {names}."),
        ),
        (
            [other for other in others if other["mean"] is None],
            _("Diverged on a fresh seed: {names}."),
        ),
    ):
        if some:
            said += " " + sentence.format(names=", ".join(map(contender_name, some)))
    return f"{said} {sentence_on_luck(evaluation)}"


def surely_worse(contender: Standing, confidence: float) -> bool:
    """Return whether neither the seeds nor the validation samples explain the winner's lead."""
    p_value, (low, _) = contender["p_value"], contender["ratio_interval"]
    return p_value is not None and p_value <= 1 - confidence and low is not None and low > 1


def sentence_on_luck(evaluation: Evaluation) -> str:
    """Return how much of the best trial's score in the study was luck with the seed."""
    trial, gap, by_chance = (evaluation[key] for key in ("best_trial", "gap", "gap_by_chance"))
    if gap is None:
        said = _("The study's best, trial {trial}, diverged on a fresh seed.")
        return said.format(trial=trial)
    said = _(
        "The study's best, trial {trial}, is on average {gap} better on its fresh seeds than its"
        " score in the study."
    )
    if gap > 0:
        said = _(
            "The study's best, trial {trial}, is on average {gap} worse on its fresh seeds than its"
            " score in the study."
        )
    said = said.format(trial=trial, gap=f"{abs(gap):.4f}")
    if by_chance is not None:
        chance = _("The luck of one seed makes up to {chance}.")
        said += " " + chance.format(chance=f"{by_chance:.4f}")
    return said


@when_settled
def show_race(report: Report, settled: SettledStudy) -> None:
    """Show the contenders on fresh seeds."""
    evaluation = settled.evaluation
    if not evaluation["raced"]:
        report.show(_("No contender was trained again (`evaluation.n_seeds` is 0)."))
        return
    report.show(
        plot_race(
            evaluation["contenders"],
            list(map(contender_name, evaluation["contenders"])),
            score_name(evaluation["score_name"]),
        ),
        _("Scores of the contenders on fresh seeds, with means and intervals"),
    )
    if validated_in_turn(evaluation):
        report.show(
            _(
                "Each seed left out other samples for its validation, so that {n} independent"
                " samples or groups judge a contender, and the winner's networks know what the"
                " others left out."
            ).format(n=settled.examination["n_val_units"])
        )
    report.show(contenders_table(evaluation["contenders"], evaluation["confidence"]))


@when_settled
def show_test(report: Report, settled: SettledStudy) -> None:
    """Show the test results of the winner and the baselines, and how often that part was used."""
    evaluation = settled.evaluation
    data, found = settled.data, settled.examination
    units = described_units(found["n_test"], found["n_test_groups"], found["n_test_units"])
    said = _("{n} test samples; intervals of {confidence} from {units}.")
    if found["n_test_units"] < MIN_UNITS:
        said = _(
            "{n} test samples; intervals of {confidence} from {units}; fewer than {least} give"
            " none."
        )
    report.show(
        said.format(
            n=found["n_test"], confidence=percent(evaluation["confidence"]), units=units,
            least=MIN_UNITS,
        )
    )  # fmt: skip
    report.show(
        plot_test_intervals(found["test"], evaluation["target_names"]),
        _("R² of the network and the baselines in the test part, with intervals"),
    )
    report.show(held_out_table(found))
    report.show(sentence_on_choice(evaluation))
    report.show(sentence_on_looks(data))


def sentence_on_choice(evaluation: Evaluation) -> str:
    """Return the winner's score on the validation part, which chose it, and on the test part."""
    val, test = (evaluation["examination"]["scores"][part] for part in ("val", "test"))
    if val is None or test is None:
        return _("The score that chose the winner is not defined on the test part.")
    return _(
        "The score that the study was judged by is **{val}** on the validation part, which chose"
        " epoch, settings and winner, and **{test}** on the test part, which chose nothing. The gap"
        " is selection bias plus chance differences between the two parts."
    ).format(val=f"{val:.4f}", test=f"{test:.4f}")


def described_units(n_samples: int, n_groups: int | None, n_units: int) -> str:
    """Describe the units whose errors the intervals treat as independent."""
    if n_groups is not None:
        return _("{groups}, taken whole").format(groups=sentence_on_groups(n_groups, n_units))
    if n_units < n_samples:
        return _("{n} blocks of neighbours, taken whole").format(n=n_units)
    return _("{n} single samples").format(n=n_units)


def sentence_on_looks(data: PreparedData) -> str:
    """Return how often, and for what, the test part was used."""
    looks = looks_at_test(data)
    winners = winners_heard(data)
    trials, by_hand = (sum(look.kind == kind for look in looks) for kind in (TRIAL, BY_HAND))
    said = [
        _(
            "The test part was looked at **{n}** times in all: for the winner ({winners}), {trials}"
            " by trials of studies and {by_hand} by hand."
        ).format(n=len(looks), winners="; ".join(winners), trials=trials, by_hand=by_hand)
    ]
    if trials:
        said.append(
            _(
                "The trials wrote its predictions to their folders; no trial is chosen, sorted or"
                " stopped by them (`evaluation.strict_test` keeps it shut to them)."
            )
        )
    if by_hand:
        said.append(
            _(
                "Trainings by hand show the test part: if you changed settings after seeing it, its"
                " numbers are optimistic."
            )
        )
    if len(winners) > 1:
        said.append(
            _(
                "**It has judged more than one winner**: if you kept tuning after seeing it, its"
                " numbers are optimistic."
            )
        )
    return " ".join(said)


@when_settled
def show_bundle(report: Report, settled: SettledStudy) -> None:
    """Say where the exported model is and how to use it."""
    where = relative_to_root(settled.directory / "bundle")
    command = f"python -m hpo_utils predict {where} x.npy --out y.csv"
    files = _("Weights, configuration, scalers, ONNX file and model card are in `{where}`.")
    if left_out := settled.examination.get("without_onnx"):
        report.show(_("**There is no ONNX file**: {reason}.").format(reason=left_out))
        files = _("Weights, configuration, scalers and model card are in `{where}`.")
    files = files.format(where=where)
    said = files + " " + _("It predicts from raw arrays, as they were recorded:")
    if settled.examination["intervals"] is None:
        report.show(f"{said}\n\n```sh\n{command}\n```")
        return
    second = _("The second file holds half the width of each prediction's interval.")
    report.show(f"{said}\n\n```sh\n{command} --half-width half_width.csv\n```\n\n{second}")
