"""How every picture looks: one palette that survives colour blindness and black ink, one style.

Each path and each phase differs from the others in colour (Okabe and Ito's palette), lightness and
marker or hatch. The page puts a variable in the place of every colour (see `THEMED`), so a colour
that a figure uses must be one of those named here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DASH = "\N{EN DASH}"
"""Stands for a value that there is no sample of."""

INK = "#1b2026"
MUTED = "#59636e"
GRID = "#dde1e6"
PAPER = "#ffffff"
BAR = "#b3bcc6"

PATHS = ("inside", "via_gateway", "via_home_agents", "direct")
PATH_NAMES = {
    "inside": "inside",
    "via_gateway": "via gateway",
    "via_home_agents": "via home agents",
    "direct": "direct",
}
PATH_COLOURS = {
    "inside": "#6b7683",
    "via_gateway": "#d55e00",
    "via_home_agents": "#b04a8b",
    "direct": "#0072b2",
}
PATH_MARKERS = {"inside": "s", "via_gateway": "o", "via_home_agents": "^", "direct": "D"}
PHASE_COLOURS = {**PATH_COLOURS, "switch_to_direct": PATH_COLOURS["via_home_agents"]}
PHASE_HATCHES = {
    "via_gateway": "////",
    "switch_to_direct": "xxxx",
    "via_home_agents": "\\\\\\\\",
    "direct": "....",
}
LOST = "#a3000b"

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LINES: tuple[Any, ...] = (
    "solid", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)),
    (0, (10, 3)), (0, (1, 4)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 2, 2, 2, 2, 2)),
)  # fmt: skip
LOOKS: tuple[Mapping[str, Any], ...] = tuple(
    {"color": colour, "marker": marker, "linestyle": line}
    for colour, marker, line in zip(
        2 * tuple(reversed(PATH_COLOURS.values())), _MARKERS, _LINES, strict=True
    )
)
"""Lines that black ink tells apart too: no marker and no dashes stand twice."""

THEMED: Mapping[str, str] = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    PAPER: "card",
    BAR: "bar",
    LOST: "lost",
    **{colour: f"path-{path.replace('_', '-')}" for path, colour in PATH_COLOURS.items()},
}
"""The page's variable for each colour."""

WIDTH_IN = 9.6
SIZE_PT = 9.0
_STYLE: Any = {
    # Text stays text: it can be searched, read aloud and enlarged.
    "svg.fonttype": "none",
    "svg.hashsalt": "mobivpn",
    # TrueType, whole letters and searchable: publishers refuse matplotlib's usual Type 3.
    "pdf.fonttype": 42,
    "font.family": ["DejaVu Sans"],
    "font.size": SIZE_PT,
    "axes.titlesize": SIZE_PT + 0.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": SIZE_PT,
    "hatch.linewidth": 0.5,
}
PIXELS_PER_INCH = 160
_FONTS = "'DejaVu Sans', Verdana, sans-serif"
"""What a reader's machine may use instead: Verdana is as wide, so that labels still fit."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure with what a reader needs beside it; `figure` is None when there is nothing to draw.

    `caption` says what was measured and how, or why there is no figure; `alternative` says in words
    what the figure shows.
    """

    name: str
    title: str
    caption: str
    alternative: str
    figure: Figure | None

    def save(self, folder: Path) -> None:
        """Write NAME.png, NAME.svg and NAME.pdf; the same data give the same bytes."""
        if self.figure is None:
            return
        with mpl.rc_context(_STYLE):
            (folder / f"{self.name}.svg").write_bytes(_as_svg(self.figure))
            # Laid out once: the layout does not depend on what is written, and takes long.
            self.figure.set_layout_engine("none")
            (folder / f"{self.name}.png").write_bytes(_as_png(self.figure))
            (folder / f"{self.name}.pdf").write_bytes(_as_pdf(self.figure))


def not_drawn(name: str, title: str, why: str = "no run came to a result") -> Picture:
    """Return a picture without a figure, which says why."""
    told = f"Not drawn: {why}."
    return Picture(name, title, told, told, None)


def _as_svg(figure: Figure) -> bytes:
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue().replace("'DejaVu Sans'", _FONTS).encode()


def _as_png(figure: Figure) -> bytes:
    data = BytesIO()
    figure.savefig(
        data,
        format="png",
        dpi=PIXELS_PER_INCH,
        metadata={"Software": None},
        pil_kwargs={"compress_level": 4},
    )
    return data.getvalue()


def _as_pdf(figure: Figure) -> bytes:
    data = BytesIO()
    nothing = dict.fromkeys(("CreationDate", "Creator", "Producer"))
    figure.savefig(data, format="pdf", metadata=nothing)
    return data.getvalue()


def style() -> Any:
    """Return the context in which a figure is made and saved."""
    return mpl.rc_context(_STYLE)


def blank(width_in: float, height_in: float, **options: Any) -> Figure:
    """Return an empty figure that belongs to no window."""
    figure = Figure(figsize=(width_in, height_in), **options)
    FigureCanvasAgg(figure)
    return figure


def bare(axes: Axes) -> None:
    """Leave nothing of an axes but what is drawn on it."""
    axes.grid(visible=False)
    axes.set_yticks([])
    axes.tick_params(bottom=False, labelbottom=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def milliseconds(value: float | None) -> str:
    """Return a duration with three significant digits at least, or a dash."""
    if value is None:
        return DASH
    return f"{value:.1f} ms" if abs(value) >= 1 or value == 0 else f"{value:.2f} ms"
