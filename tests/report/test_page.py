import re
from html.parser import HTMLParser

import nbformat
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.figure import Figure

from hpo_utils.base.language import _
from hpo_utils.base.paths import project_root
from hpo_utils.report.page import Report, _mime_bundle, report_path
from hpo_utils.trials.figures import plot_learning_curves

HISTORY = {"train_losses": [1.0, 0.5], "val_losses": [1.1, 0.7], "scores": [0.9, 0.8]}
CELL = "analysis.show_overview(report, study)"  # a cell of 04_analyze


@pytest.fixture
def shell():
    """A real IPython, without a kernel around it."""
    shell = InteractiveShell.instance()
    yield shell
    InteractiveShell.clear_instance()


def alts_of(page):
    """Texts of all images, as a browser reads them."""
    alts = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: tag == "img" and alts.append(dict(attrs)["alt"])
    parser.feed(page)
    return alts


def run_cell(shell, report, *items):
    shell.user_ns.update(analysis=shell, report=report, study=items)
    shell.show_overview = lambda report, items: [report.show(*item) for item in items]
    result = shell.run_cell(CELL, store_history=True)
    result.raise_error()


def test_a_page_holds_what_was_shown_and_no_code(shell, tmp_path, capsys):
    report = Report("04_analyze.ipynb")
    figure = plot_learning_curves(HISTORY, 2)
    table = pd.DataFrame({"R²": [0.5, None]}, index=["<Gas>", "b"])
    run_cell(shell, report, ("**bold** sentence",), (figure, 'curves of "one" training'), (table,))
    page = report.save(tmp_path / "reports" / "s.html", "Study <s>").read_text()
    assert "<strong>bold</strong> sentence" in page
    assert alts_of(page) == ['curves of "one" training']
    assert "&lt;Gas&gt;" in page
    assert "<title>Study &lt;s&gt;</title>" in page
    assert "What the search did" in page  # the notebook's own text
    leads = re.findall(r'<li><a href="#([^"]+)">', page)
    assert len(leads) == 7
    assert all(f'id="{anchor}"' in page for anchor in leads)
    for code in ("load_notebook_config", CELL, "params_file", "<script"):
        assert code not in page
    assert "http://" not in page.replace("http://www.w3.org", "")  # opens offline
    assert "https://" not in page


def test_a_japanese_page(shell, tmp_path, capsys):
    report = Report("04_analyze.ipynb", "ja")
    figure = plot_learning_curves(HISTORY, 2)
    run_cell(shell, report, (_("Every training on a random split diverged."),),
             (figure, _("Importance of each parameter")))  # fmt: skip
    page = report.save(tmp_path / "s.html", "Study demo").read_text(encoding="utf-8")
    assert '<html lang="ja">' in page
    assert "<title>Study demo</title>" in page
    assert "すべて発散しました" in page
    assert alts_of(page) == ["各パラメータの重要度"]
    leads = re.findall(r'<li><a href="#([^"]+)">', page)
    assert len(leads) == 7
    assert all(f'id="{anchor}"' in page for anchor in leads)
    assert "1 結論" in page
    assert figure.axes[0].get_xlabel() == "エポック"


def test_a_cell_that_is_run_again_replaces_what_it_showed(shell, tmp_path, capsys):
    report = Report("04_analyze.ipynb")
    run_cell(shell, report, ("one sentence",), ("two sentences",))
    run_cell(shell, report, ("three sentences",))
    page = report.save(tmp_path / "s.html", "s").read_text()
    assert "three sentences" in page
    assert "one sentence" not in page
    assert "two sentences" not in page


def test_a_cell_that_was_edited_is_kept_too(shell, tmp_path, capsys):
    report = Report("04_analyze.ipynb")
    shell.user_ns["report"] = report
    shell.run_cell("report.show('an own sentence')", store_history=True).raise_error()
    page = report.save(tmp_path / "s.html", "s").read_text()
    assert "an own sentence" in page
    assert "report.show" not in page


def test_outside_ipython_the_text_is_printed(capsys):
    Report("04_analyze.ipynb").show("a sentence")
    assert capsys.readouterr().out == "a sentence\n"


def test_where_the_report_of_a_study_goes(tmp_path):
    assert report_path(tmp_path, "demo") == tmp_path / "reports" / "demo.html"


def test_names_are_shown_and_not_run():
    evil = "<script>alert(1)</script>"
    for item in (f"target {evil}", pd.DataFrame({evil: [evil]}), Figure()):
        data = _mime_bundle(item, evil)
        shown = data.get("text/html", data.get("text/markdown", ""))
        assert "<script" not in shown
        assert "script" in shown


def test_a_cell_of_04_has_at_most_three_sentences_outside_what_folds_out():
    notebook = nbformat.read(project_root() / "notebooks/04_analyze.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            shown = re.sub(r"<details>.*?</details>", "", cell.source, flags=re.DOTALL)
            text = re.sub(r"^#.*$", "", shown, flags=re.MULTILINE)
            assert len(re.findall(r"[.?!](?=\s|$)", text)) <= 3, cell.source


def test_no_word_of_a_table_is_broken_in_a_notebook():
    html = _mime_bundle(pd.DataFrame({"済みエポック数": [6]}), "")["text/html"]
    assert html.startswith('<div style="word-break: keep-all"><table')
    assert html.endswith("</table></div>")
