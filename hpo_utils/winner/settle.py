"""Settling a study's winner: re-evaluate trials, examine the winner, write results and bundle.

The test part is used only after the re-evaluation has chosen the winner.
``<outputs_root>/winners/<study>/`` holds ``evaluation.json`` with all results, ``predictions.npz``
with true values and the winner's predictions of the validation and test part, and ``bundle/``, the
exported model.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from hpo_utils.base.config import Config, updated, with_target_weights
from hpo_utils.base.errors import DivergenceError, StudyError
from hpo_utils.base.formatting import clock
from hpo_utils.base.paths import (
    is_whole_archive,
    read_mapping,
    resolve,
    whole_directory,
    write_json,
    write_text,
    write_with,
)
from hpo_utils.baselines.components import sight_of
from hpo_utils.baselines.domain import Domain
from hpo_utils.baselines.fitted import fit_baselines, load_models
from hpo_utils.bundle.agreement import check_written
from hpo_utils.bundle.bundle import is_current, write_bundle
from hpo_utils.bundle.data_card import DATA_CARD, data_card
from hpo_utils.bundle.layout import describe_layout
from hpo_utils.bundle.members import Member, folds_of, load_member, predict_judged, predict_part
from hpo_utils.bundle.onnx_file import write_onnx, write_program
from hpo_utils.data.checks import count_rows
from hpo_utils.data.prepared import PreparedData, judged_on, load_prepared
from hpo_utils.scores.skill import NETWORK
from hpo_utils.study.progress import why_none_completed
from hpo_utils.study.search import run_study
from hpo_utils.study.summary import write_study_files
from hpo_utils.training.directory import has_directory, read_trial_info
from hpo_utils.training.record import environment
from hpo_utils.training.test_looks import WINNER, note_look
from hpo_utils.trials.budget import fitted_to_budget, left
from hpo_utils.trials.sample_scale import fitted_to_data
from hpo_utils.trials.search_space import SearchSpace, load_search_space
from hpo_utils.trials.storage import best_of, count_finished
from hpo_utils.winner.comparisons import on_random_split, without_physics
from hpo_utils.winner.contenders import Contender
from hpo_utils.winner.evaluation import Evaluation, Examination, Settlement
from hpo_utils.winner.examination import examine
from hpo_utils.winner.folds import SettledFold, on_all_folds
from hpo_utils.winner.model_card import model_card
from hpo_utils.winner.reevaluation import reevaluate, wait_for_others
from hpo_utils.winner.standings import describe_race, read_sample_scores
from hpo_utils.workers.worker import needing_storage

NOT_YET = "The other folds are not done yet: run `03_optimize` to its end."
DESCRIBING = (  # what may be said of the data later, by entries of their manifest
    "channel_names", "axis_names", "axis_ranges", "target_repeatability", "input_noise", "card",
    "accept_outliers",
)  # fmt: skip
VERSION = 5  # of evaluation.json; change it when 04 needs new fields or baselines are added


@needing_storage()
def settle_winner(study: optuna.Study, cfg: Config) -> Evaluation | None:
    """Race the best trials, examine the winner on the test part and write the results.

    Earlier results are reused: the test part is opened again only for another winner.

    Returns
    -------
    dict or None
        The content of ``evaluation.json``; None if no trial of the study is complete.
    """
    wait_for_others(study, cfg)
    best = best_of(study.get_trials(deepcopy=False))
    if best is None:
        none = f"study {study.study_name!r} has no complete trial: there is no winner to settle"
        print(why_none_completed(study) or none)
        return None
    root = resolve(cfg.paths.outputs_root)
    data = study_data(study, cfg)
    cfg = fitted_to_data(with_target_weights(cfg, data.n_targets), data.source_shape)
    space = load_search_space(cfg, data.n_targets, count_rows(data.source_shape))
    cfg = fitted_to_budget(study, cfg, data.n_train)
    contenders = (
        reevaluate(study, cfg, space, data) if cfg.evaluation.n_seeds else [_as_it_is(best, cfg)]
    )
    settlement = _settlement(study, cfg, space, data, contenders)
    directory = winner_directory(root, study.study_name)
    before = load_evaluation(study, root)
    current = is_current(directory / "bundle")
    if before and current and _are_alike(before, settlement):
        examination = before["examination"]
    else:
        examination = _examine_and_bundle(directory, root, data, settlement)
    members = settlement["members"]  # the same in every process that settles this study
    said_before = before["all_folds"] if before and before["members"] == members else NOT_YET
    evaluation: Evaluation = {**settlement, "examination": examination, "all_folds": said_before}
    write_json(directory / "evaluation.json", evaluation)
    _write_card(directory / "bundle", data, evaluation)
    study.set_user_attr("settled", members)
    settled = SettledFold(contenders[0], members, _winner(settlement), said_before)
    # last, since a search on each fold takes long; the other results are visible meanwhile
    search = partial(_search_anew, study, root)
    evaluation["all_folds"] = on_all_folds(study, cfg, space, data, settled, search)
    write_json(directory / "evaluation.json", evaluation)
    _write_card(directory / "bundle", data, evaluation)
    if (seconds := left(study, cfg)) is not None:
        rest = f"{clock(seconds)} are left" if seconds >= 0 else f"exceeded by {clock(-seconds)}"
        print(f"of study.budget ({cfg.study.budget}) {rest}", flush=True)
    return evaluation


def _as_it_is(best: FrozenTrial, cfg: Config) -> Contender:
    """Return the study's best trial as the only contender, without retraining."""
    if not has_directory(best, resolve(cfg.paths.outputs_root)):
        raise StudyError(
            f"trial {best.number} must have its directory to go home as it is, but"
            f" {best.user_attrs['output_dir']} is gone: set evaluation.n_seeds to 1 or more, which"
            " trains it again"
        )
    only = Contender(best.number, False, dict(best.params), best.value)
    only.directories[cfg.training.seed] = best.user_attrs["output_dir"]
    return only


def _settlement(
    study: optuna.Study,
    cfg: Config,
    space: SearchSpace,
    data: PreparedData,
    contenders: list[Contender],
) -> Settlement:
    """Return the results of the contenders, winner first, before the test part is used.

    This also trains the winner's configuration without its constraints and on a random split.
    """
    raced, confidence = cfg.evaluation.n_seeds > 0, cfg.evaluation.confidence
    root, winner = resolve(cfg.paths.outputs_root), contenders[0]
    folds = [fold for contender in contenders for fold in contender.val_folds.values()]
    judged = judged_on(data, cfg, folds or [0])
    members = choose_members(winner, cfg.evaluation.ensemble, root)
    seed_of = {directory: seed for seed, directory in winner.directories.items()}
    sample_scores = read_sample_scores(contenders, judged, cfg, root) if raced else {}
    return {
        "version": VERSION,
        "study_name": study.study_name,
        "dataset_id": data.dataset_id,
        "target_names": data.target_names,
        "target_units": data.target_units,
        "settled": datetime.now().isoformat(timespec="milliseconds"),
        "n_trials": count_finished(study),
        "score_name": study.user_attrs["signature"]["score"],
        "confidence": confidence,
        "raced": raced,
        **describe_race(
            contenders,
            sample_scores,
            judged.independent_units("val"),
            confidence,
            judged_alike=len(data.val_folds(cfg)) == len(data.race_folds(cfg)),
        ),
        "members": members,
        "member_folds": [winner.val_folds.get(seed_of[member], 0) for member in members],
        "validated_in_turn": len(set(winner.val_folds.values())) > 1,
        "take_home": cfg.evaluation.take_home,
        "described": {name: data.manifest.get(name) for name in DESCRIBING},
        "without_physics": without_physics(study, cfg, space, data, winner),
        "random_split": on_random_split(study, cfg, space, data, winner),
    }


def _are_alike(before: Settlement, now: Settlement) -> bool:
    """Return whether a winner's test results and bundle stay as they were."""
    first, second = (
        (each["members"], each["confidence"], each["dataset_id"], each["target_names"],
         each["target_units"], each.get("take_home", NETWORK),
         each.get("described", now["described"]))
        for each in (before, now)
    )  # fmt: skip
    return first == second


def _search_anew(study: optuna.Study, root: Path, cfg: Config) -> list[str]:
    """Search on another fold than ``study``; return the directories of the winning trainings.

    The list is empty if all trainings failed or diverged. The files of ``study`` are written again
    at the end, because the search has overwritten them.
    """
    try:
        evaluation = settle_winner(run_study(cfg, study.study_name), cfg)
    except DivergenceError as error:
        print(error, flush=True)
        return []
    finally:
        write_study_files(study, root)
    return [] if evaluation is None else evaluation["members"]


def _winner(settlement: Settlement) -> str:
    """Describe the winner for the log of test uses; a retrained winner is another winner."""
    first, members = settlement["contenders"][0]["name"], settlement["members"]
    return f"{first} of study {settlement['study_name']}, {members[0]}"


def study_data(study: optuna.Study, cfg: Config) -> PreparedData:
    """Return the data of a study, with the physics that its trials used.

    The same arrays may have been prepared again since, with other physics of their targets.
    """
    signature = study.user_attrs["signature"]
    data = load_prepared(resolve(cfg.paths.outputs_root), signature["dataset_id"])
    known = dict(signature.get("physics", {}))
    if any(known.values()):  # given for the target names of that time
        known["target_names"] = study.user_attrs.get("target_names", data.target_names)
    return replace(data, manifest={**data.manifest, **known})


def load_evaluation(study: optuna.Study, outputs_root: Path) -> Evaluation | None:
    """Return the results of settling the winner; None if it has not been settled."""
    found = read_mapping(winner_directory(outputs_root, study.study_name) / "evaluation.json") or {}
    # ignore a file of an earlier version, or of a deleted study with the same name
    ours = study.user_attrs.get("settled") == found.get("members")
    whole = Evaluation.__required_keys__ <= found.keys()
    if not (ours and whole and found["version"] == VERSION):
        return None
    return cast(Evaluation, found)


def load_predictions(directory: Path) -> dict[str, NDArray[Any]]:
    """Return the true values ``val_true``, ``test_true`` and the predictions ``val``, ``test``.

    The predictions have a leading axis of members; ``members`` are their training directories.
    """
    with np.load(directory / "predictions.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def winner_directory(outputs_root: Path, study_name: str) -> Path:
    """Return the directory of the results on a study's winner."""
    return outputs_root / "winners" / study_name


def choose_members(winner: Contender, ensemble: bool, root: Path) -> list[str]:
    """Return the directories of the trainings to bundle: all, or only the best.

    ``root`` is the directory that contains them.

    Raises
    ------
    DivergenceError
        If all trainings diverged.
    """
    if not winner.scores:  # the study's best trial, not retrained
        return list(winner.directories.values())
    finite = {seed: score for seed, score in winner.scores.items() if np.isfinite(score)}
    if not finite:
        first = read_trial_info(root / next(iter(winner.directories.values()))).get("reason")
        raise DivergenceError(
            f"a winner must train on some seed, but {winner.name} diverged on each of"
            f" {list(winner.scores)}: {first or 'narrow the search space'}"
        )
    chosen = finite if ensemble else [min(finite, key=lambda seed: finite[seed])]
    return [winner.directories[seed] for seed in chosen]


def _examine_and_bundle(
    directory: Path, root: Path, data: PreparedData, settlement: Settlement
) -> Examination:
    """Examine only the winner and the baselines on the test part, and write the bundle."""
    members = [load_member(root / member) for member in settlement["members"]]
    cfg, confidence = members[0][0], settlement["confidence"]
    judged = judged_on(data, cfg, folds_of(members))
    predictions = _held_out(directory, judged, settlement, members)
    domain, take_home = Domain.of(data), settlement["take_home"]
    examination = examine(
        judged, cfg, fit_baselines(judged), predictions, confidence, domain, take_home
    )
    shares = examination["shares"]
    layout = describe_layout(
        data, cfg, examination["spread_confidence"], examination["intervals"], shares
    )
    baselines = load_models(judged) if set(shares) - {NETWORK} else None
    made_with = {
        **environment(), "study": settlement["study_name"], "members": settlement["members"],
    }  # fmt: skip
    states = [state for _, state in members]
    with whole_directory(directory / "bundle", replace=True) as unfinished:
        written = write_bundle(
            unfinished, _as_described(cfg, data), layout, states, sight_of(cfg, data), baselines,
            domain, examination, made_with,
        )  # fmt: skip
        write_json(unfinished / DATA_CARD, data_card(data))
        onnx_file = unfinished / "model.onnx"
        write_onnx(onnx_file, written.model, layout, np.dtype(data.manifest["sources"][0]["dtype"]))
        examination["without_onnx"] = check_written(written, onnx_file, members, baselines, data)
        if examination["without_onnx"] is not None:
            print(f"model.onnx is left out: {examination['without_onnx']}")
            onnx_file.unlink()
        else:
            write_program(unfinished)
    return examination


def _as_described(cfg: Config, data: PreparedData) -> Config:
    """Return a training's configuration with the far values that count as real by now."""
    meant = data.manifest.get("accept_outliers")
    return updated(cfg, {"dataset.accept_outliers": meant}) if meant else cfg


def _write_card(bundle: Path, data: PreparedData, evaluation: Evaluation) -> None:
    """Write the model card of a bundle; once with it, and again after the folds are evaluated."""
    made_with = read_mapping(bundle / "environment.json") or environment()
    write_text(bundle / "MODEL_CARD.md", model_card(data, evaluation, made_with))


def _held_out(
    directory: Path,
    data: PreparedData,
    settlement: Settlement,
    members: list[Member],
) -> dict[str, NDArray[Any]]:
    """Return truth and predictions of the held-out parts; open the test part once per winner."""
    file = directory / "predictions.npz"
    if is_whole_archive(file):
        with suppress(ValueError, KeyError):  # damaged: predict again
            predictions = load_predictions(directory)
            if predictions["members"].tolist() == settlement["members"]:
                return predictions
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "evaluation.json").unlink(missing_ok=True)  # of another winner
    note_look(data, _winner(settlement), WINNER)
    predictions = {
        "members": np.array(settlement["members"]),
        "val_true": data.targets("val"),
        "test_true": data.targets("test"),
        "val": predict_judged(members, data),
        "test": predict_part(members, data, "test"),
    }
    write_with(file, lambda open_file: np.savez(open_file, **predictions))  # type: ignore[arg-type]
    return predictions
