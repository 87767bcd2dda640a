"""Figure style: colours, fonts, labels, grids of axes and file output, shared by all figures.

Each target has one colour everywhere, every axis has its unit, and no figure uses pyplot's global
state.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, Locator, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from hpo_utils.base.paths import write_with

P = ParamSpec("P")

# Okabe & Ito 2008, "Color Universal Design": distinct for any colour vision, and in print
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933")
GREY = "#8A8A8A"
FONTS = ["DejaVu Sans", "IPAexGothic"]  # the second for Japanese characters missing from the first
STYLE: dict[Any, Any] = {
    "font.family": FONTS,
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.8,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.85,
    "font.size": 10,
}
WIDTH = 9.0  # inches; width of every figure
DPI = 110


def _register_japanese_font() -> None:
    """Register matplotlib-fontja's font without importing the package, which changes rcParams."""
    package = find_spec("matplotlib_fontja")
    if package is not None and package.origin is not None:
        font_manager.fontManager.addfont(Path(package.origin).parent / "fonts" / "ipaexg.ttf")


_register_japanese_font()


def styled(plot: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorate ``plot`` to draw in the package's style without changing global settings."""

    @wraps(plot)
    def in_style(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            return plot(*args, **kwargs)

    return in_style


def target_color(k: int) -> str:
    """Return the colour of target ``k``, the same in every figure."""
    return PALETTE[k % len(PALETTE)]


def with_unit(name: str, unit: str) -> str:
    """Return an axis label: the name, and the unit in brackets unless the name contains it."""
    says_all = unit in ("", "-") or name.endswith((f"[{unit}]", f"({unit})"))
    return name if says_all else f"{name} [{unit}]"


def image_extent(
    rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> tuple[float, float, float, float]:
    """Return the ``extent`` for ``imshow`` of an image with these row and column values."""
    (top, bottom), (left, right) = (
        (float(values[0]), float(values[-1] + (values[1] - values[0] if len(values) > 1 else 1)))
        for values in (rows, columns)
    )
    return left, right, bottom, top


def grid(n_panels: int, columns: int, panel_height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure of ``WIDTH`` with ``n_panels`` axes in rows of at most ``columns``."""
    columns = 2 if n_panels == 4 else min(columns, n_panels)
    rows = math.ceil(n_panels / columns)
    width = WIDTH if columns > 1 else WIDTH * 0.75
    figure = Figure(figsize=(width, rows * panel_height))
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(n_panels)]
    return figure, axes


def fixed_grid(n_panels: int, columns: int, panel_height: float) -> tuple[Figure, list[Axes]]:
    """Return a ``grid`` with fixed margins in inches, for figures that every trial draws.

    Computing the margins from the label sizes would take as long as drawing the figure.
    """
    with mpl.rc_context({"figure.constrained_layout.use": False}):
        figure, axes = grid(n_panels, columns, panel_height)
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        left=0.8 / width, right=1 - 0.15 / width, bottom=0.6 / height, top=1 - 0.35 / height,
        wspace=0.38, hspace=0.38,
    )  # fmt: skip
    return figure, axes


def save_figure(path: Path, figure: Figure) -> None:
    """Write a figure as PNG atomically: it appears whole or not at all."""
    canvas = FigureCanvasAgg(figure)
    write_with(path, lambda file: canvas.print_figure(file, format="png", dpi=DPI))


def log_axes(axes: Axes) -> None:
    """Make both axes logarithmic, labelled with plain numbers."""
    axes.set(xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        plain_log_ticks(axis)


def plain_log_ticks(axis: Axis) -> None:
    """Label a logarithmic axis with plain numbers, even if it spans less than a decade."""
    low, high = axis.get_view_interval()
    decades = math.log10(high / low)
    if decades < math.log10(5):  # ticks at 1, 2 and 5 would give at most one label
        locator: Locator = MaxNLocator(5)
    else:
        locator = LogLocator(subs=(1.0, 2.0, 5.0) if decades < 3 else (1.0,), numticks=6)
    axis.set_major_locator(locator)
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())
