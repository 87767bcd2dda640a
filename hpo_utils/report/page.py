"""What a notebook shows, kept as it is shown, and written as one HTML page without code."""

from __future__ import annotations

import base64
import html
import io
import re
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hpo_utils.base.paths import project_root, write_text
from hpo_utils.base.style import DPI
from hpo_utils.report.language import ENGLISH, Language

ABOUT_RUNNING = ("## Parameters", "## Configuration")  # of no use to a reader of the page
PAGE_STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto;
       padding: 0 1rem; }
h1, h2, h3 { line-height: 1.25; margin-top: 2rem; }
img { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: 0.85rem; display: block; overflow-x: auto; }
th, td { padding: 0.25rem 0.6rem; text-align: right; border-bottom: 1px solid #ddd;
         word-break: keep-all; }
th { background: #f5f5f5; }
nav ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: 0.3rem 1.2rem; }
.anchor-link { display: none; }
code, pre { background: #f3f3f3; padding: 0 0.2em; overflow-wrap: anywhere; }
pre { padding: 0.6em; white-space: pre-wrap; }
@media print { body { margin: 0; max-width: none; } img, tr { break-inside: avoid; }
  table { display: table; overflow: visible; width: 100%; font-size: 0.6rem; }
  th, td { padding: 0.15rem 0.25rem; overflow-wrap: anywhere; } }
"""


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
        What is shown, and the page, are put into this language; the notebook's text stays.
    """

    notebook: str
    language: str = ENGLISH
    shown: dict[str, Shown] = field(default_factory=dict)  # by source of the showing cell

    def __post_init__(self) -> None:
        self._words = Language(self.language)

    def show(self, item: Figure | pd.DataFrame | str, alt: str = "") -> None:
        """Show a figure, a table or a sentence below the cell, and keep it for the page.

        Parameters
        ----------
        item
            A figure; a table; or text in Markdown.
        alt
            What a figure shows, for those who cannot see it.

        A figure of another language than English has its texts replaced.
        """
        from IPython.core.getipython import get_ipython
        from IPython.display import display

        data = _mime_bundle(item, alt, self._words)
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
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = self._words.text(cell.source)
            elif shown := self.shown.get(cell.source.strip()):
                cell.outputs = [
                    nbformat.v4.new_output("display_data", data=data) for data in shown.outputs
                ]
        # with its anchors: headings without them have no id to lead to
        exporter = HTMLExporter(template_name="basic", exclude_input=True)
        body, _ = exporter.from_notebook_node(notebook)
        body = body.replace("</h1>", f"</h1>\n{_contents(body, self._words.text('Contents'))}", 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(
            path,
            f'<!DOCTYPE html>\n<html lang="{self.language}">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{html.escape(self._words.text(title))}</title>\n"
            f"<style>{PAGE_STYLE}</style>\n</head>\n"
            f"<body>\n{body}\n</body>\n</html>\n",
        )
        return path


def report_path(outputs_root: Path, study_name: str) -> Path:
    """Return where the report of a study goes."""
    return outputs_root / "reports" / f"{study_name}.html"


def _contents(body: str, name: str) -> str:
    """Return a table of contents, under its name, that leads to the second headings of a page."""
    heading = r'<h2 id="([^"]+)"[^>]*>(.*?)(?:<a class="anchor-link".*?)?</h2>'
    headings = re.findall(heading, body, re.DOTALL)
    items = "".join(f'<li><a href="#{anchor}">{title}</a></li>' for anchor, title in headings)
    return f'<nav aria-label="{name}"><ul>{items}</ul></nav>' if items else ""


def _mime_bundle(item: Figure | pd.DataFrame | str, alt: str, words: Language) -> dict[str, str]:
    """Return an output's data by MIME type; figures as an image tag, which can carry a text."""
    if isinstance(item, Figure):
        words.figure(item)
        alt = words.text(alt)
        buffer = io.BytesIO()
        FigureCanvasAgg(item).print_figure(buffer, format="png", dpi=DPI)
        image = base64.b64encode(buffer.getvalue()).decode("ascii")
        source = f"data:image/png;base64,{image}"
        return {
            "text/plain": f"[figure: {alt}]",
            "text/html": f'<img src="{source}" alt="{html.escape(alt, quote=True)}">',
        }
    if isinstance(item, pd.DataFrame):
        item = words.table(item)
        # pandas puts na_rep for NaN, not for None
        numbers = item.map(lambda value: float("nan") if value is None else value).to_html(
            border=0, index_names=False, na_rep="–", float_format=lambda value: f"{value:.4g}"
        )
        return {"text/plain": item.to_string(), "text/html": numbers}
    item = words.text(item)
    # Markdown lets HTML through, and a name may be anything
    return {"text/plain": item, "text/markdown": item.replace("<", "&lt;")}
