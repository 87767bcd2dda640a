"""The model card of a bundle: purpose, accuracy and limitations of the model."""

from __future__ import annotations

from typing import Any

from hpo_utils.base.formatting import interval_text, number_text, percent, with_units
from hpo_utils.baselines.take_home import described, name_at_home
from hpo_utils.data.prepared import PreparedData
from hpo_utils.data.split import MIN_UNITS, PART_NAMES
from hpo_utils.scores.skill import NETWORK, joint_verdict
from hpo_utils.training.test_looks import winners_heard
from hpo_utils.winner.evaluation import AllFolds, Evaluation, Examination
from hpo_utils.winner.examination import shares_at_home, validated_in_turn, verdict_at_home


def model_card(data: PreparedData, evaluation: Evaluation, made_with: dict[str, Any]) -> str:
    """Return the card in Markdown (after Mitchell et al., Model Cards, FAT* 2019).

    ``made_with`` is the content of ``environment.json``. The use of the test part for this winner
    must already be logged.
    """
    found, folds = evaluation["examination"], evaluation["all_folds"]
    shape = ", ".join(map(str, data.manifest["sources"][0]["shape"][1:]))
    n_members, shares = len(evaluation["members"]), shares_at_home(found)
    network = (
        "one network"
        if n_members == 1
        else f"the mean of {n_members} networks of one configuration trained with different seeds"
        + (", each validated on other samples" if validated_in_turn(evaluation) else "")
    )
    kind = f"A convolutional regressor, {network}"
    if list(shares) != [NETWORK]:
        kind = f"A regressor: {described(shares)}"
        kind += f"; the network is {network}" if NETWORK in shares else ""
    card: dict[str, str] = data.manifest.get("card") or {}
    sections = [
        f"# {evaluation['study_name']}: {', '.join(data.target_names)}",
        f"{kind}. It won study `{evaluation['study_name']}`"
        f" ({evaluation['n_trials']} trials) by {evaluation['score_name']}.",
        "## Use",
        f"Input: raw arrays of shape (n_samples, {shape}), with all that was recorded"
        f" ({', '.join(data.manifest['channel_names'])}), of which it uses"
        f" {', '.join(data.used_channels)}; standardisation is inside. Output, in their units:"
        f" {', '.join(data.target_names)}.",
        "```sh\npython -m hpo_utils predict BUNDLE x.npy --out y.npy\n"
        "python -m hpo_utils evaluate BUNDLE x_later.npy t_later.npy\n```",
        "`model.onnx` gives the same numbers without PyTorch: input `x`, outputs `y` and `spread`."
        " `python predict.py x.npy y.csv` uses it with numpy and onnxruntime alone."
        if (left_out := found.get("without_onnx")) is None
        else f"There is no `model.onnx`: {left_out}.",
        "## How good it is",
        f"On {found['n_test']} samples{_groups(found)} that neither trained nor chose it,"
        f" {_intervals(found, evaluation['confidence'])}; the skill is the share of the best"
        " baseline's squared error that it removes.",
        _table(data, found),
        *_merits(data, found),
        *([] if isinstance(folds, str) else _of_folds(folds)),
        "## What to beware of",
        *_warnings(found, max(len(winners_heard(data)) - 1, 0)),
        "## Where it comes from",
        f"Data `{evaluation['dataset_id']}`: "
        + ", ".join(f"{PART_NAMES[part]} {n}" for part, n in data.manifest["n_samples"].items())
        + " samples. Configuration: `config.yaml`. Made with hpo_utils"
        f" {made_with['packages']['hpo_utils']}, PyTorch {made_with['packages']['torch']}"
        + (f", revision {revision}." if (revision := made_with["revision"]) else "."),
        *[f"{key.replace('_', ' ').capitalize()}: {said}" for key, said in card.items()],
    ]
    return "\n\n".join(sections) + "\n"


def _intervals(found: Examination, confidence: float) -> str:
    if found["n_test_units"] < MIN_UNITS:
        return "too few for intervals"
    return f"with {percent(confidence)} intervals"


def _groups(found: Examination) -> str:
    return "" if found["n_test_groups"] is None else f" of {found['n_test_groups']} groups"


def _table(data: PreparedData, found: Examination) -> str:
    lines = ["| target | R² | interval | RMSE | unit | best baseline | skill |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    at_home = name_at_home(shares_at_home(found))
    skills = found.get("skill_home", found["skill"])
    for k, (name, unit) in enumerate(zip(data.target_names, data.target_units, strict=True)):
        errors, skill = found["test"][at_home][name], skills[k]
        cells = [
            name, number_text(errors["r2"]), interval_text(errors["r2_interval"]),
            number_text(errors["rmse"], ".3g"), unit, found["best_baseline"][k],
            f"{number_text(skill['skill'])} ({verdict_at_home(found, k)})",
        ]  # fmt: skip
        lines.append(_row(cells))
    return "\n".join(lines)


def _merits(data: PreparedData, found: Examination) -> list[str]:
    """Return the figures of merit of what goes home, as a table."""
    if "merit" not in found:
        return []
    lines = [
        "| target | reference | bias | limit | SEP | slope | RPD |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, label in zip(
        data.target_names, with_units(data.target_names, data.target_units), strict=True
    ):
        merit = found["merit"][name]
        cells = [
            label, interval_text(merit["reference"], ".3g"), number_text(merit["bias"], ".3g"),
            number_text(merit["bias_limit"], ".3g"), number_text(merit["sep"], ".3g"),
            interval_text(merit["slope_interval"], ".3g"), number_text(merit["rpd"], ".3g"),
        ]  # fmt: skip
        lines.append(_row(cells))
    said = (
        "Figures of merit (ISO 12099) within the range of the reference: an unbiased model's bias"
        " lies within ± the limit, its slope of reference on prediction is one."
    )
    return [said, "\n".join(lines)]


def _of_folds(folds: AllFolds) -> list[str]:
    """Describe the joint test results of the folds, whose trainings are not in the bundle."""
    trained = "searches of their own" if folds["searched"] else "trainings of this configuration"
    lines = ["| target | R² | interval | skill |", "|---|---|---|---|"]
    for (name, errors), skill, over_mean in zip(
        folds["test"][NETWORK].items(), folds["skill"], folds["skill_over_mean"], strict=True
    ):
        cells = [
            name, number_text(errors["r2"]), interval_text(errors["r2_interval"]),
            f"{number_text(skill['skill'])} ({joint_verdict(skill, over_mean)})",
        ]  # fmt: skip
        lines.append(_row(cells))
    return [
        f"And on {folds['n_samples']} samples in {len(folds['folds'])} of {folds['n_folds']} folds,"
        f" each predicted once, by {trained} that never saw it:",
        "\n".join(lines),
    ]


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _warnings(found: Examination, n_before: int) -> list[str]:
    """Return one paragraph for each limitation that the user should know."""
    said = [
        "It knows recordings like those it was trained on: another rig, sensor or range of the"
        " targets is new to it. It says which samples are unlike all that it was trained on, by the"
        " level, spread, range and slope of each channel or by what it predicts; not all that is"
        " new shows there."
    ]
    names = list(found["validation"])
    lost = [name for k, name in enumerate(names) if verdict_at_home(found, k) != "better"]
    if lost:
        said.append(
            f"It is not shown to beat both the best baseline and the mean for {', '.join(lost)}."
        )
    for part, constant in found.get("constant", {}).items():
        if constant:
            said.append(
                f"{', '.join(constant)} did not vary in the {PART_NAMES[part]} part, so nothing"
                " that was found there says anything of it."
            )
    if min(found["n_test_units"], found.get("n_val_units", MIN_UNITS)) < MIN_UNITS:
        said.append(
            f"Fewer than {MIN_UNITS} independent samples, groups or blocks were held out to"
            " validate or to test: its numbers are mostly chance."
        )
    if n_before:
        said.append(
            f"Its test part had judged {n_before} other winner{'s' * (n_before > 1)} before: if you"
            " kept tuning after seeing it, these numbers are optimistic."
        )
    if found["coverage"] is not None:
        shares = ", ".join(
            f"{c['calibrated']:.0%} ({n})" for n, c in zip(names, found["coverage"], strict=True)
        )
        said.append(
            f"Its intervals of nominally {percent(found['spread_confidence'])}, calibrated on the"
            f" validation part, held this share of the test part: {shares}."
        )
    return said
