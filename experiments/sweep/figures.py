"""A value over a parameter: means with 95 % confidence intervals (Student's t)."""

from collections.abc import Iterator
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy import stats

from experiments.report.drawing import INK, LOOKS, Picture, blank, style
from experiments.scenario import ScenarioError
from experiments.sweep.plan import Plot, Sweep

CONFIDENCE = 0.95
_MOST_PLACES = 12
"""Of more different values of a parameter, equally many each are taken together."""
_SIZE_IN = (6.4, 4.0)


def draw(sweep: Sweep, table: pd.DataFrame, plot: Plot) -> Picture:
    """Return one picture. Raises ScenarioError where a column is not there."""
    for name in (plot.value, plot.over, plot.by):
        if name is not None and name not in table:
            known = ", ".join(column for column in table.columns if column != "failed_checks")
            raise ScenarioError(f"nothing is called '{name}' in the table; there are: {known}")
    if not pd.api.types.is_numeric_dtype(table[plot.value]):
        raise ScenarioError(f"'{plot.value}' is no number: it cannot be drawn over {plot.over}")
    by = f"-by-{plot.by}" if plot.by else ""
    name = f"{plot.value}-over-{plot.over}{by}".replace(".", "_")
    shown = table[table[plot.value].notna()]
    keys = [plot.over, *([plot.by] if plot.by else [])]
    repeated = bool(len(shown)) and shown.groupby(keys).size().max() > 1
    pooled = [name for name in sweep.parameters if name not in keys]
    caption = (
        f"{plot.value} over {plot.over}"
        + (f", by {plot.by}" if plot.by else "")
        + f": {len(shown)} runs of {sweep.scenario}. "
        + (
            f"Mark: mean. Bar: {CONFIDENCE:.0%} confidence interval of the mean (Student's t)"
            + (f", over seeds and {', '.join(pooled)}." if pooled else ", over seeds.")
            if repeated
            else "One run each: no interval."
        )
    )
    if shown.empty:
        return Picture(name, plot.value, f"No run has a value of {plot.value}.", "", None)
    with style():
        figure = blank(*_SIZE_IN, layout="constrained")
        axes = figure.subplots()
        groups = [("", shown)] if plot.by is None else list(shown.groupby(plot.by, sort=True))
        for (label, group), look in zip(groups, cycle(LOOKS), strict=False):
            means = pd.DataFrame(_means(group, plot))
            axes.errorbar(
                means["at"], means["mean"], yerr=means["half"].fillna(0.0),
                label=f"{plot.by} = {label}" if plot.by else None,
                markersize=5, linewidth=1.4, capsize=3, ecolor=INK, elinewidth=0.9, **look,
            )  # fmt: skip
        _scale(axes, shown[plot.over])
        axes.set_xlabel(plot.over)
        axes.set_ylabel(plot.value)
        axes.set_ylim(bottom=min(0.0, float(shown[plot.value].min())))
        if plot.by is not None:
            axes.legend()
    return Picture(name, f"{plot.value} over {plot.over}", caption, caption, figure)


def interval(values: pd.Series) -> tuple[float, float]:
    """Return mean and half of its confidence interval, NaN of a single value."""
    count = len(values)
    if count < 2:
        return float(values.mean()), float("nan")
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)
    return float(values.mean()), float(quantile * values.std(ddof=1) / np.sqrt(count))


def _means(group: pd.DataFrame, plot: Plot) -> Iterator[dict[str, object]]:
    places = group[plot.over]
    numbers = pd.api.types.is_numeric_dtype(places)
    if numbers and places.nunique() > _MOST_PLACES:
        places = pd.qcut(places, _MOST_PLACES // 2, duplicates="drop")
    for at, values in group.groupby(places, sort=True, observed=True):
        mean, half = interval(values[plot.value])
        middle = values[plot.over].mean() if numbers else str(at)
        yield {"at": middle, "mean": mean, "half": half}


def _scale(axes: Axes, places: pd.Series) -> None:
    """Take a logarithmic scale for values of which the largest is many times the least."""
    numbers = pd.api.types.is_numeric_dtype(places) and places.min() > 0
    if numbers and places.max() / places.min() >= 30:
        axes.set_xscale("log")
