"""What a notebook shows, kept as it is shown, and written as one HTML page without code."""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hpo_utils.base.formatting import significant
from hpo_utils.base.language import ENGLISH, _, use_language
from hpo_utils.base.paths import project_root, write_text
from hpo_utils.base.style import DPI

ABOUT_RUNNING = ("## Parameters", "## Configuration")  # of no use to a reader of the page
TEMPLATES = Path(__file__).parent / "templates"  # of nbconvert, in Jinja


@dataclass
class Shown:
    """What one execution of a cell showed."""

    execution_count: int
    outputs: list[dict[str, str]] = field(default_factory=list)  # each by MIME type


@dataclass
class Report:
    """Shows things in a notebook and remembers them, to write the notebook as a page.

    Parameters
    ----------
    notebook
        File name in ``notebooks/``: its text becomes the page's, its code is left out.
    language
        Everything is shown in this language from now on, in the whole process; the text in the
        notebook itself stays English, in the page it is translated.
    """

    notebook: str
    language: str = ENGLISH
    shown: dict[str, Shown] = field(default_factory=dict)  # by source of the showing cell

    def __post_init__(self) -> None:
        use_language(self.language)

    def show(self, item: Figure | pd.DataFrame | str, alt: str = "") -> None:
        """Show a figure, a table or a sentence below the cell, and keep it for the page.

        Parameters
        ----------
        item
            A figure; a table; or text in Markdown.
        alt
            What a figure shows, for those who cannot see it.
        """
        from IPython.core.getipython import get_ipython
        from IPython.display import display

        data = _mime_bundle(item, alt)
        shell = get_ipython()
        if shell is None:
            print(data["text/plain"])
            return
        display(data, raw=True)
        source, count = str(shell.user_ns["In"][-1]).strip(), shell.execution_count
        if source not in self.shown or self.shown[source].execution_count != count:
            self.shown[source] = Shown(count)  # a cell that is run again starts anew
        self.shown[source].outputs.append(data)

    def save(self, path: Path, title: str) -> Path:
        """Write what was shown so far, between the notebook's texts, as one HTML file."""
        import nbformat  # slow to import, and needed here alone
        from nbconvert import HTMLExporter

        notebook = nbformat.read(project_root() / "notebooks" / self.notebook, as_version=4)
        notebook.cells = [c for c in notebook.cells if not c.source.startswith(ABOUT_RUNNING)]
        sources = {cell.source.strip() for cell in notebook.cells}
        for source in self.shown.keys() - sources:  # a cell that was edited since the file was read
            notebook.cells.append(nbformat.v4.new_code_cell(source))
        notebook.cells[0].source = f"# {title}"  # in place of what the notebook is
        for cell in notebook.cells[1:]:
            if cell.cell_type == "markdown":
                cell.source = "\n".join(map(_, cell.source.split("\n")))
            elif shown := self.shown.get(cell.source.strip()):
                cell.outputs = [
                    nbformat.v4.new_output("display_data", data=data) for data in shown.outputs
                ]
        exporter = HTMLExporter(
            template_name="report", extra_template_basedirs=[str(TEMPLATES)], exclude_input=True
        )
        body, __ = exporter.from_notebook_node(
            notebook,
            {
                "language": self.language,
                "title": title,
                "contents": _("Contents"),
                "headings": _headings(notebook.cells),
            },
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, body)
        return path


def report_path(outputs_root: Path, study_name: str) -> Path:
    """Return where the report of a study goes."""
    return outputs_root / "reports" / f"{study_name}.html"


def _headings(cells: list[Any]) -> list[str]:
    """Return the second headings of a notebook; nbconvert makes their anchors from their text."""
    lines = (
        line for cell in cells if cell.cell_type == "markdown" for line in cell.source.split("\n")
    )
    return [line.removeprefix("## ").strip() for line in lines if line.startswith("## ")]


def figure_tag(figure: Figure, alt: str) -> str:
    """Return a figure as an image tag that carries its own data."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(buffer, format="png", dpi=DPI)
    image = base64.b64encode(buffer.getvalue()).decode("ascii")
    source = f"data:image/png;base64,{image}"
    return f'<img src="{source}" alt="{html.escape(alt, quote=True)}">'


def _mime_bundle(item: Figure | pd.DataFrame | str, alt: str) -> dict[str, str]:
    """Return an output's data by MIME type; figures as an image tag, which can carry a text."""
    if isinstance(item, Figure):
        return {"text/plain": f"[figure: {alt}]", "text/html": figure_tag(item, alt)}
    if isinstance(item, pd.DataFrame):
        # pandas puts na_rep for NaN, not for None
        numbers = item.map(lambda value: float("nan") if value is None else value).to_html(
            border=0, index_names=False, na_rep="–", float_format=partial(significant, digits=4)
        )
        # a browser may break a Japanese word anywhere, and narrow columns then stand on end
        table = f'<div style="word-break: keep-all">{numbers}</div>'
        return {"text/plain": item.to_string(), "text/html": table}
    # Markdown lets HTML through, and a name may be anything
    return {"text/plain": item, "text/markdown": item.replace("<", "&lt;")}
