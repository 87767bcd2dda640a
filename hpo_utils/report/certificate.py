"""The test report of a model on one printed page: what was tested, how, and with which result."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from matplotlib.figure import Figure

from hpo_utils.base.formatting import percent
from hpo_utils.base.language import _
from hpo_utils.base.paths import read_mapping, write_text
from hpo_utils.data.split import MIN_UNITS, PART_NAMES
from hpo_utils.report.merit_table import merit_table
from hpo_utils.report.page import TEMPLATES, figure_tag
from hpo_utils.report.verdict import SettledStudy, models_at_home, sentence_on_looks
from hpo_utils.trials.figures import MANY

DIGITS = 16  # of a digest that are printed
LABELS = {  # of the entries of ``dataset.card``
    "description": "description", "creator": "measured by", "instrument": "instrument",
    "recorded": "recorded", "published": "published", "license": "licence",
    "reference_method": "reference method", "url": "address", "citation": "to cite as",
    "version": "version of the data",
}  # fmt: skip
SOFTWARE = ("hpo_utils", "torch", "optuna", "numpy")


def certificate_path(outputs_root: Path, study_name: str) -> Path:
    """Return where the test report of a study goes."""
    return outputs_root / "reports" / f"{study_name}-certificate.html"


def write_certificate(path: Path, settled: SettledStudy, figure: Figure) -> Path:
    """Write the test report, with ``figure`` of the predictions of the test part."""
    evaluation, found = settled.evaluation, settled.examination
    units = dict(zip(evaluation["target_names"], evaluation["target_units"], strict=True))
    table = (
        ""
        if "merit" not in found
        else merit_table(found["merit"], units).to_html(border=0, index_names=False)
    )
    content = {
        "title": _("Test report"),
        "study": evaluation["study_name"],
        "facts": _facts(settled),
        "merits": table,
        # of the figure, so that all fits on a page: each row of the table takes some
        "height": max(45, 148 - 4 * len(units)) if len(units) > MANY else 84,
        "figure": figure_tag(figure, _("Prediction against truth in the test part")),
        "method": _(
            "The test samples chose neither epoch nor settings nor winner. Bias, SEP and slope"
            " follow ISO 12099:2017, 7.3 to 7.6, limits of agreement Bland and Altman (1986), U"
            " JCGM 100:2008, 6.2. Limits and intervals hold at {confidence}. They are valid for"
            " samples like those of the test part, within the range of its reference values."
        ).format(confidence=percent(evaluation["confidence"])),
        "warning": _(
            "Fewer than {least} independent samples or groups were tested: these figures are mostly"
            " chance."
        ).format(least=MIN_UNITS)
        if found["n_test_units"] < MIN_UNITS
        else "",
        "looks": re.sub("[*`]", "", sentence_on_looks(settled.data)),
        "sign": [_("Place and date"), _("Name"), _("Signature")],
    }
    jinja = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, jinja.get_template("certificate.html.j2").render(content))
    return path


def _facts(settled: SettledStudy) -> list[tuple[str, str]]:
    """Return what was tested, by name."""
    evaluation, data = settled.evaluation, settled.data
    bundle = settled.directory / "bundle"
    made_with = read_mapping(bundle / "environment.json") or {}
    packages: dict[str, Any] = made_with.get("packages", {})
    digest = str((read_mapping(bundle / "bundle.json") or {}).get("sha256", "–"))
    samples = ", ".join(
        f"{_(PART_NAMES[part])} {n}" for part, n in data.manifest["n_samples"].items()
    )
    sources = ", ".join(
        f"{Path(each['path']).name} {each['sha256'][:DIGITS]}" for each in data.manifest["sources"]
    )
    return [
        (_("data"), f"{data.dataset_id} ({sources})"),
        *((_(LABELS[key]), said) for key, said in (data.manifest.get("card") or {}).items()),
        (_("samples"), samples),
        (_("model"), models_at_home(settled.examination)),
        (_("digest of the model"), digest[:DIGITS]),
        (_("software"), ", ".join(f"{n} {packages[n]}" for n in SOFTWARE if n in packages)),
        (_("settled"), evaluation["settled"]),
    ]
