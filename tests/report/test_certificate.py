"""The test report on one page, and the table that the report begins with."""

import json
import re

import pytest
from matplotlib.figure import Figure

from hpo_utils.base.language import language
from hpo_utils.base.paths import resolve
from hpo_utils.baselines.take_home import name_at_home
from hpo_utils.report.certificate import certificate_path, write_certificate
from hpo_utils.report.result_sections import plot_at_home, result_table
from hpo_utils.report.verdict import SettledStudy
from hpo_utils.winner.settle import load_evaluation, study_data, winner_directory


@pytest.fixture
def of_study(settled):
    cfg, study = settled
    root = resolve(cfg.paths.outputs_root)
    evaluation = load_evaluation(study, root)
    directory = winner_directory(root, study.study_name)
    return SettledStudy(evaluation, study_data(study, cfg), directory)


def test_it_names_data_model_and_software_and_leaves_room_to_sign(of_study, tmp_path):
    path = certificate_path(tmp_path, "smoke")
    text = write_certificate(path, of_study, Figure()).read_text(encoding="utf-8")
    digest = json.loads((of_study.directory / "bundle/bundle.json").read_text())["sha256"]
    source = of_study.data.manifest["sources"][0]["sha256"]
    assert digest[:16] in text
    assert source[:16] in text
    for said in ("ISO 12099:2017", "Signature", "hpo_utils ", of_study.data.dataset_id):
        assert said in text
    for name, merit in of_study.examination["merit"].items():
        assert name in text
        assert f"{merit['sep']:.3g}" in text
    assert not re.search(r'(src|href)="(?!data:)', text)  # nothing is loaded from elsewhere


def test_too_few_samples_are_said(of_study, tmp_path):
    examination = {**of_study.examination, "n_test_units": 5}
    few = SettledStudy(
        {**of_study.evaluation, "examination": examination}, of_study.data, of_study.directory
    )
    said = "Fewer than 8 independent samples or groups were tested"
    for study, is_said in ((few, True), (of_study, False)):
        text = write_certificate(tmp_path / "c.html", study, Figure()).read_text(encoding="utf-8")
        assert (said in text) == is_said


def test_names_cannot_write_into_the_page(of_study, tmp_path):
    evaluation = {**of_study.evaluation, "study_name": "<script>alert(1)</script>"}
    spoilt = SettledStudy(evaluation, of_study.data, of_study.directory)
    text = write_certificate(tmp_path / "c.html", spoilt, Figure()).read_text(encoding="utf-8")
    assert "<script>" not in text


def test_the_first_table_has_the_numbers_of_the_evaluation(of_study):
    table = result_table(of_study.evaluation)
    found = of_study.examination
    names = of_study.evaluation["target_names"]
    at_home = found["test"][name_at_home(found["shares"])]
    assert table["RMSEP"].tolist() == [at_home[name]["rmse"] for name in names]
    assert len(plot_at_home(of_study).axes) == len(names)
    with language("ja"):
        assert "検証済みの範囲" in result_table(of_study.evaluation).columns
