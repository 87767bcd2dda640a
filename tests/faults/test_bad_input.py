"""Every way in which a user can get it wrong: one sentence, at once, and nothing written.

Each row goes in by the front door of ``03_optimize``: parameters, arrays and search space as a user
gives them. What comes out must name the setting, and the value or place that is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from hpo_utils.base.errors import HpoError
from hpo_utils.base.parameters import load_notebook_config, reject_unknown_parameters
from hpo_utils.study.search import run_study

N = 40
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 2, 8, 12)).astype(np.float32)
T = RNG.normal(size=(N, 2)).astype(np.float32)


@dataclass
class Input:
    """What a user gives; a row of the table spoils one thing in it."""

    folder: Path
    overrides: list[str] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)
    space: Any = None
    parameters: dict[str, Any] = field(default_factory=dict)
    x_name: str = "x.npy"
    t_name: str = "t.npy"

    def run(self) -> None:
        sections: dict[str, Any] = {
            "dataset": {
                "x_train": str(self.folder / self.x_name),
                "t_train": str(self.folder / self.t_name),
                "downsample_factor": 1,
            },
            "training": {"epochs": 1},
            "study": {"name": "bad", "n_trials": 1, "n_workers": 1},
            "paths": {"outputs_root": str(self.folder / "runs")},
        }
        space = {"training.batch_size": {"type": "categorical", "choices": [4, 8]}}
        space = space if self.space is None else self.space
        file = self.folder / "space.yaml"
        file.write_text(space if isinstance(space, str) else yaml.safe_dump(space))
        sections["study"]["search_space"] = str(file)
        for key, value in self.params.items():
            section, _, name = key.partition(".")
            sections.setdefault(section, {})
            if isinstance(sections[section], dict) and name:
                sections[section][name] = value
            else:
                sections[section] = value
        params_file = self.folder / "params.yaml"
        params_file.write_text(yaml.safe_dump(sections, allow_unicode=True), encoding="utf-8")
        given = {"params_file": str(params_file), "overrides": self.overrides, **self.parameters}
        run_study(load_notebook_config(**given))


Spoil = Callable[[Input], object]


def x_is(array: Any, **options: Any) -> Spoil:
    return lambda i: np.save(i.folder / "x.npy", array, **options)


def t_is(array: Any, **options: Any) -> Spoil:
    return lambda i: np.save(i.folder / "t.npy", array, **options)


def file_is(name: str, content: bytes) -> Spoil:
    return lambda i: (i.folder / name).write_bytes(content)


def truncated(name: str) -> Spoil:
    def spoil(i: Input) -> None:
        file = i.folder / name
        file.write_bytes(file.read_bytes()[:-100])

    return spoil


def override(*items: str) -> Spoil:
    return lambda i: i.overrides.extend(items)


def params(**values: Any) -> Spoil:
    return lambda i: i.params.update({k.replace("__", "."): v for k, v in values.items()})


def space(content: Any) -> Spoil:
    return lambda i: setattr(i, "space", content)


def parameter(**values: Any) -> Spoil:
    return lambda i: i.parameters.update(values)


def zipped(name: str, setting: str, key: str | None = None, **arrays: Any) -> Spoil:
    def spoil(i: Input) -> None:
        np.savez(i.folder / name, **arrays)
        setattr(i, setting, name)
        if key is not None:
            i.params[f"dataset.{setting[0]}_key"] = key

    return spoil


def groups(array: Any) -> Spoil:
    def spoil(i: Input) -> None:
        np.save(i.folder / "g.npy", array)
        i.params["dataset.groups"] = str(i.folder / "g.npy")

    return spoil


def changed(array: Any, value: Any, *index: Any) -> Any:
    copy = np.array(array)
    copy[index] = value
    return copy


def many(depth: int) -> str:
    return "training: " + "[" * depth


LR = "training.learning_rate"
# name: (what is spoilt, what the sentence must say)
CASES: dict[str, tuple[Spoil, str]] = {
    # arrays: the file
    "x missing": (lambda i: (i.folder / "x.npy").unlink(), r"x_train must name an existing"),
    "t missing": (lambda i: (i.folder / "t.npy").unlink(), r"t_train must name an existing"),
    "x is a directory": (params(dataset__x_train="tests"), r"x_train must name an existing"),
    "x is empty": (file_is("x.npy", b""), r"x_train must be an array saved by numpy"),
    "x is text": (file_is("x.npy", b"1,2,3\n4,5,6\n"), r"x_train must be an array saved by numpy"),
    "x is a pickle": (file_is("x.npy", b"\x80\x04K\x01."), r"x_train must be an array saved"),
    "x ends early": (truncated("x.npy"), r"must hold 40 samples.*truncated"),
    "t ends early": (truncated("t.npy"), r"must hold 40 samples.*truncated"),
    "x has half a header": (file_is("x.npy", b"\x93NUMPY\x01\x00v\x00{'de"), r"x_train must be an"),
    "x is a broken archive": (file_is("x.npy", b"PK\x03\x04abcdef"), r"x_train must be an array"),
    "npz with several keys": (zipped("x.npz", "x_name", a=X, b=X), r"x_key must name one of.*a, b"),
    "npz with another key": (
        zipped("x.npz", "x_name", key="c", a=X, b=X),
        r"x_key must name one of.*a, b.*got c",
    ),
    "npz of the targets": (zipped("t.npz", "t_name", a=T, b=T), r"t_key must name one of.*a, b"),
    "an empty npz": (zipped("x.npz", "x_name"), r"x_key must name one of"),
    "a key of an npy": (params(dataset__x_key="a"), r"dataset.x_key.*'?a'?"),
    # arrays: shape and kind
    "x of one axis": (x_is(X[:, 0, 0, 0]), r"x_train must have shape.*got \(40,\)"),
    "x of five axes": (x_is(X[..., None]), r"x_train must have shape.*got \(40, 2, 8, 12, 1\)"),
    "x of no axis": (x_is(np.float32(1)), r"x_train must have shape.*got \(\)"),
    "x without samples": (x_is(X[:0]), r"x_train must have shape.*empty axis"),
    "x with an empty axis": (x_is(X[:, :, :0]), r"x_train must have shape.*empty axis"),
    "t of three axes": (t_is(T[..., None]), r"t_train must have shape.*got \(40, 2, 1\)"),
    "t without targets": (t_is(T[:, :0]), r"t_train must have shape.*got \(40, 0\)"),
    "lengths differ": (t_is(T[:-1]), r"same number of samples, got 40 and 39"),
    "x of objects": (
        x_is(np.array([{}] * N), allow_pickle=True),
        r"real numbers, got dtype object",
    ),
    "t of objects": (
        t_is(np.array([{}] * N), allow_pickle=True),
        r"real numbers, got dtype object",
    ),
    "x complex": (x_is(X + 1j), r"x_train must hold real numbers, got dtype complex"),
    "t complex": (t_is(T + 1j), r"t_train must hold real numbers, got dtype complex"),
    "x of text": (x_is(np.full((N, 4), "a")), r"real numbers, got dtype <U1"),
    "x of dates": (x_is(np.zeros((N, 4), "M8[s]")), r"real numbers, got dtype datetime64"),
    "x of records": (x_is(np.zeros((N, 4), "f4,f4")), r"real numbers, got dtype"),
    "one sample": (lambda i: (x_is(X[:1])(i), t_is(T[:1])(i)), r"sample"),
    "two samples": (lambda i: (x_is(X[:2])(i), t_is(T[:2])(i)), r"sample"),
    # arrays: values
    "NaN in x": (x_is(changed(X, np.nan, 3, 1, 2, 2)), r"got nan in sample 3, channel 1"),
    "infinity in x": (x_is(changed(X, np.inf, 0, 0, 0, 0)), r"got inf in sample 0, channel 0"),
    "beyond float32 in x": (
        x_is(changed(X.astype(float), 1e300, 5, 1, 0, 0)),
        r"within float32, got 1e\+300 in sample 5",
    ),
    "NaN in t": (t_is(changed(T, np.nan, 7, 1)), r"got nan for 'target 1' in sample 7"),
    "infinity in t": (t_is(changed(T, -np.inf, 7, 0)), r"got -inf for 'target 0' in sample 7"),
    "all NaN": (x_is(np.full_like(X, np.nan)), r"got nan in sample 0"),
    "a constant target": (t_is(changed(T, 2.0, slice(None), 1)), r"'target 1' must vary"),
    "a constant channel": (
        x_is(changed(X, 2.0, slice(None), 1)),
        r"channel 1 .* must vary.*exclude",
    ),
    "all channels constant": (x_is(np.zeros_like(X)), r"channel 0 .* must vary"),
    # settings of the data
    "channel that is not there": (
        override("dataset.exclude_channels=[5]"),
        r"exclude_channels must lie between 0 and 1",
    ),
    "negative channel": (
        override("dataset.exclude_channels=[-1]"),
        r"exclude_channels must lie between 0 and 1",
    ),
    "all channels left out": (
        override("dataset.exclude_channels=[0,1]"),
        r"exclude_channels must leave at least one",
    ),
    "too few names": (override("dataset.target_names=[a]"), r"target_names must have 2 entries.*1"),
    "names twice": (override("dataset.target_names=[a,a]"), r"target_names must differ"),
    "too many channel names": (
        override("dataset.channel_names=[a,b,c]"),
        r"channel_names must have 2 entries",
    ),
    "unknown fraction": (override("dataset.fractions=[nope]"), r"fractions.*nope"),
    "negative where it cannot be": (
        override("dataset.target_names=[a,b]", "dataset.non_negative=[a]"),
        r"non_negative|'a'",
    ),
    "factor larger than the signal": (
        override("dataset.downsample_factor=1000"),
        r"downsample_factor",
    ),
    "factor of zero": (override("dataset.downsample_factor=0"), r"downsample_factor must lie"),
    "limit of one": (override("dataset.limit=1"), r"sample"),
    "limit below zero": (override("dataset.limit=-5"), r"limit must lie between 1"),
    "groups missing": (params(dataset__groups="nowhere.npy"), r"groups must name an existing"),
    "groups too few": (groups(np.arange(N - 1)), r"groups must hold one id.*40"),
    "groups without a number": (
        groups(np.where(np.arange(N) < 3, np.nan, 1.0)),
        r"name a group for each .* got 3 values",
    ),
    "one group": (groups(np.zeros(N, int)), r"group"),
    "groups of objects": (params(dataset__groups="README.md"), r"groups must be an array saved"),
    "split by group without groups": (override("data_split.method=group"), r"dataset.groups"),
    "gap without time": (override("data_split.gap=3"), r"gap must go with data_split.method time"),
    "formulas that cannot be drawn": (
        override(r"dataset.target_names=[$\bad$,b]"),
        r"names may have formulas .*bad",
    ),
    "gap beyond the data": (
        override("data_split.method=time", "data_split.gap=1000"),
        r"gap of 1000 \(data_split.gap\): use more samples, a smaller gap or other ratios",
    ),
    "ratios not one": (override("data_split.train_ratio=0.9"), r"must be 1, got 0.9"),
    "no training part": (
        override(
            "data_split.train_ratio=0", "data_split.val_ratio=0.5", "data_split.test_ratio=0.5"
        ),
        r"train",
    ),
    "no validation part": (
        override("data_split.train_ratio=0.85", "data_split.val_ratio=0"),
        r"val",
    ),
    # settings
    "unknown key": (override("training.epoch=3"), r"training.*epoch.*Did you mean: 'epochs'"),
    "unknown section": (override("trainings.epochs=3"), r"trainings.*Did you mean: 'training'"),
    "unknown key in the file": (params(training__epoch=3), r"epoch.*Did you mean: 'epochs'"),
    "a section that is a number": (
        params(model=3),
        r"the section model must hold settings by name, got 3",
    ),
    "a section that is a list": (
        params(model=[1]),
        r"the section model must hold settings by name",
    ),
    "a list for a number": (params(training__epochs=[1, 2]), r"training.epochs"),
    "text for a number": (override("training.epochs=ten"), r"training.epochs.*'ten'"),
    "half an epoch": (override("training.epochs=1.5"), r"training.epochs.*1.5"),
    "null for a number": (override("training.epochs=null"), r"training.epochs"),
    "negative rate": (override(f"{LR}=-0.1"), r"learning_rate must lie between"),
    "rate that is no number": (override(f"{LR}=nan"), r"learning_rate must lie between.*nan"),
    "infinite rate": (override(f"{LR}=inf"), r"learning_rate must lie between.*inf"),
    "dropout of one": (override("model.dropout_rate=1.0"), r"dropout_rate must lie between"),
    "batch of one": (override("training.batch_size=1"), r"batch_size must lie between 2"),
    "seed below zero": (override("training.seed=-1"), r"training.seed must lie between 0"),
    "unknown pruner": (override("study.pruner=asha"), r"pruner must be one of median, none"),
    "unknown score": (override("evaluation.score=rmse"), r"score must be one of mse, mae, r2"),
    "unknown target to score": (override("evaluation.target=nope"), r"evaluation.target.*nope"),
    "unknown device": (override("training.device=tpu9"), r"training.device must be"),
    "a GPU that is not there": (override("training.device=cuda:97"), r"training.device must be"),
    "unknown precision": (override("training.precision=int8"), r"precision must be one of"),
    "name that leaves the folder": (override("study.name=../../x"), r"study.name must consist of"),
    "data name that leaves the folder": (
        override("dataset.name=../x"),
        r"dataset.name must consist",
    ),
    "empty name": (override("study.name="), r"study.name"),
    "weight below zero": (
        override("training.weight_target_0=-1"),
        r"weight_target_0 must be at least",
    ),
    "weight of no target": (
        override("training.weight_target_7=1"),
        r"weight_target_\* must name one",
    ),
    "weights all zero": (
        override("training.weight_target_0=0", "training.weight_target_1=0"),
        r"must not be 0 for all",
    ),
    "an override without value": (override("training.epochs"), r"form section.key=value"),
    "an override with spaces": (override("training.epochs = 3"), r"form section.key=value"),
    "an override of nothing": (override("=3"), r"form section.key=value"),
    "an open bracket": (override("dataset.target_names=[a"), r"overrides must be readable"),
    "an interpolation of nothing": (override("study.name=${nope}"), r"nope"),
    "an interpolation of the environment": (
        override("study.name=${oc.env:HOME}"),
        r"oc.env",
    ),
    "an interpolation that decodes": (override("training.epochs=${oc.decode:3}"), r"oc.decode"),
    "code in the params file": (
        lambda i: setattr(i, "parameters", {"params_file": _written(i, "!!python/name:os.system")}),
        r"readable YAML",
    ),
    "params file that is no YAML": (
        lambda i: setattr(i, "parameters", {"params_file": _written(i, "training: {")}),
        r"readable YAML",
    ),
    "params file of tabs": (
        lambda i: setattr(i, "parameters", {"params_file": _written(i, "training:\n\tepochs: 3")}),
        r"readable YAML",
    ),
    "params file of brackets": (
        lambda i: setattr(i, "parameters", {"params_file": _written(i, many(5000))}),
        r"readable YAML",
    ),
    "params file missing": (parameter(params_file="nowhere.yaml"), r"params file must exist"),
    "params file that is a folder": (parameter(params_file="params"), r"params file must"),
    # parameters of the notebook
    "trials in words": (parameter(n_trials="many"), r"n_trials must be a whole number, got 'many'"),
    "half a trial": (parameter(n_trials=2.5), r"n_trials must be a whole number, got 2.5"),
    "no trials": (parameter(n_trials=0), r"n_trials must lie between 1"),
    "trials that are true": (
        parameter(n_trials=True),
        r"n_trials must be a whole number, got True",
    ),
    "workers below zero": (parameter(n_workers=-1), r"n_workers must lie between 1"),
    "delete perhaps": (parameter(delete_study="perhaps"), r"delete_study must be true or false"),
    "an open quote": (lambda i: setattr(i, "overrides", "a='b"), r"quotes in pairs"),
    "overrides that are a number": (lambda i: setattr(i, "overrides", 3), r"overrides must be"),
    "overrides that are a table": (
        lambda i: setattr(i, "overrides", {"a": 1}),
        r"overrides must be",
    ),
    # search space
    "space missing": (
        params(study__search_space="nowhere.yaml"),
        r"search_space must name a readable",
    ),
    "a searched factor larger than the signal": (
        space("dataset.downsample_factor: {type: int, low: 1, high: 1000}\n"),
        r"downsample_factor must leave at least two of the .* rows .* got 1000",
    ),
    "a searched factor among choices": (
        space("dataset.downsample_factor: {type: categorical, choices: [1, 1000]}\n"),
        r"downsample_factor must leave at least two of the .* rows .* got 1000",
    ),
    "space empty": (space(""), r"search space must map settings to ranges"),
    "space that is a list": (space("- a\n- b\n"), r"search space must map settings to ranges"),
    "space that is no YAML": (space("a: ["), r"search_space must name a readable YAML"),
    "code in the space": (space("a: !!python/name:os.system"), r"must name a readable YAML"),
    "unknown setting": (
        space({"model.layers": {"type": "int", "low": 1, "high": 2}}),
        r"got 'model.layers'",
    ),
    "a setting that is not searched": (
        space({"study.seed": {"type": "int", "low": 1, "high": 2}}),
        r"got 'study.seed'",
    ),
    "unknown type": (
        space({LR: {"type": "normal"}}),
        r"learning_rate must have a type of int, float",
    ),
    "a range without type": (space({LR: {"low": 1, "high": 2}}), r"learning_rate must have a type"),
    "a range that is a list": (space({LR: [1, 2]}), r"learning_rate must have a type"),
    "no end": (
        space({LR: {"type": "float", "low": 1e-4}}),
        r"learning_rate must have a valid range",
    ),
    "low above high": (
        space({LR: {"type": "float", "low": 1e-2, "high": 1e-4}}),
        r"learning_rate must have a valid",
    ),
    "log of zero": (
        space({LR: {"type": "float", "low": 0.0, "high": 1e-2, "log": True}}),
        r"learning_rate must have a valid range",
    ),
    "step of zero": (
        space({"model.hidden": {"type": "int", "low": 8, "high": 24, "step": 0}}),
        r"model.hidden must have a valid range",
    ),
    "log with step": (
        space({LR: {"type": "float", "low": 1e-3, "high": 1e-2, "log": True, "step": 1e-3}}),
        r"learning_rate must have a valid range",
    ),
    "ends in words": (
        space({LR: {"type": "float", "low": "small", "high": "large"}}),
        r"must have a valid range",
    ),
    "ends that are no numbers": (
        space(f"{LR}: {{type: float, low: .nan, high: .nan}}"),
        r"learning_rate",
    ),
    "no choices": (
        space({"training.batch_size": {"type": "categorical", "choices": []}}),
        r"batch_size must have a valid range",
    ),
    "a choice that cannot be": (
        space({"training.batch_size": {"type": "categorical", "choices": [4, "many"]}}),
        r"value of the search space must be valid.*batch_size",
    ),
    "a choice of a list": (
        space({"training.batch_size": {"type": "categorical", "choices": [[4], [8]]}}),
        r"batch_size",
    ),
    "values out of range": (
        space({"model.dropout_rate": {"type": "float", "low": 0.0, "high": 1.5}}),
        r"value of the search space must be valid.*dropout_rate must lie",
    ),
    "unknown option of a range": (
        space({LR: {"type": "float", "low": 1e-4, "high": 1e-2, "base": 10}}),
        r"learning_rate must have a valid range",
    ),
    "condition on nothing": (
        space({LR: {"type": "float", "low": 1e-4, "high": 1e-2, "if": "training.nope"}}),
        r"condition of training.learning_rate must be a true/false setting, .*got 'training.nope'",
    ),
    "condition on a number": (
        space({LR: {"type": "float", "low": 1e-4, "high": 1e-2, "if": "training.epochs"}}),
        r"condition of training.learning_rate must be a true/false setting",
    ),
    "condition below": (
        space(
            f"{LR}: {{type: float, low: 1.0e-4, high: 1.0e-2, if: model.use_residual}}\n"
            "model.use_residual: {type: categorical, choices: [true, false]}\n"
        ),
        r"condition of a parameter must stand above",
    ),
    "base outside the space": (
        space({"training.batch_size": {"type": "categorical", "choices": [16, 32]}}),
        r"base configuration must lie in the search space.*batch_size = 8",
    ),
    "all held": (override("training.batch_size=8"), r"at least one parameter must be searched"),
    "holding nothing": (params(study__fixed=["training.nope"]), r"study.fixed must name settings"),
    # storage
    "storage that is no address": (params(study__storage="nonsense"), r"study.storage must be"),
    "storage of an unknown kind": (
        params(study__storage="oracle9://a/b"),
        r"study.storage must be",
    ),
    "storage that is an array": (
        lambda i: i.params.update({"study.storage": f"sqlite:///{i.folder / 'x.npy'}"}),
        r"study.storage must be",
    ),
    "storage in a file's place": (
        lambda i: i.params.update({"study.storage": f"sqlite:///{i.folder / 'x.npy' / 'db'}"}),
        r"study.storage must be",
    ),
    "storage of nobody": (
        params(study__storage="postgresql://nobody@127.0.0.1:1/none"),
        r"study.storage must be",
    ),
    "results in a file's place": (
        lambda i: i.params.update({"paths.outputs_root": str(i.folder / "x.npy")}),
        r"paths.outputs_root",
    ),
    "results where nobody can write": (
        params(paths__outputs_root="/proc/nobody/runs"),
        r"paths.outputs_root",
    ),
}


def _written(given: Input, text: str) -> str:
    file = given.folder / "own.yaml"
    file.write_text(text)
    return str(file)


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name not in ("space.yaml", "params.yaml")
    }


@pytest.mark.parametrize("name", CASES)
def test_it_is_one_sentence_and_nothing_is_written(tmp_path, name):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "t.npy", T)
    spoil, message = CASES[name]
    given = Input(tmp_path)
    spoil(given)
    before = files_below(tmp_path)
    with pytest.raises(HpoError) as caught:
        given.run()
    sentence = str(caught.value)
    assert re.search(message, sentence), sentence
    assert "\n" not in sentence
    assert len(sentence) < 600
    assert caught.value._render_traceback_() == [f"{type(caught.value).__name__}: {sentence}"]
    assert files_below(tmp_path) == before


def test_the_table_is_large():
    assert len(CASES) >= 80


def test_what_the_rows_are_compared_with_is_right(tmp_path):
    """Unspoilt, the same input makes a study."""
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "t.npy", T)
    Input(tmp_path).run()
    assert (tmp_path / "runs" / "optuna" / "study_summary.json").is_file()


FINE: dict[str, Spoil] = {
    "integers": lambda i: (x_is((100 * X).astype(np.int16))(i), t_is(np.arange(N))(i)),
    "not C-contiguous": x_is(np.asfortranarray(X)),
    "big-endian": lambda i: (x_is(X.astype(">f8"))(i), t_is(T.astype(">f4"))(i)),
    "booleans": lambda i: (x_is(X > 0)(i), t_is(T - np.median(T, axis=0) > 0)(i)),
    "half precision": x_is(X.astype(np.float16)),
    "one target without its axis": t_is(T[:, 0]),
    "a saturated channel": x_is(np.clip(X, -0.5, 0.5)),
    "an npz of one array": zipped("x.npz", "x_name", anything=X),
    "a path with spaces and Japanese": lambda i: _moved(i, "測定 データ"),
    "text ids of groups": groups(np.array([f"第{n % 8}回" for n in range(N)])),
}


def _moved(given: Input, name: str) -> None:
    folder = given.folder / name
    folder.mkdir()
    for array in ("x.npy", "t.npy"):
        (given.folder / array).rename(folder / array)
    given.folder = folder


@pytest.mark.parametrize("name", FINE)
def test_what_is_odd_but_right_goes_through(tmp_path, name):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "t.npy", T)
    given = Input(tmp_path)
    FINE[name](given)
    given.run()
    assert (given.folder / "runs" / "optuna" / "best_trial_info.yaml").is_file()


def test_a_misspelt_notebook_parameter_is_named():
    with pytest.raises(HpoError, match=r"got 'n_trial': did you mean n_trials\?"):
        reject_unknown_parameters(["n_trial"], ["params_file", "n_trials"])
