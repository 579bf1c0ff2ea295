"""The fake network as a user meets it, with and without authentication of the inside."""

from collections.abc import Sequence
from html import unescape
from pathlib import Path

import pytest

from experiments.second_opinion import clear_text_by_tshark
from mobivpn.variants import InsideAuthentication
from tests.support.runs import Run, asked

LURED = str(Path(__file__).with_name("lured.toml"))
RUNS = {
    inside_auth: asked(LURED, "--inside-auth", inside_auth.value)
    for inside_auth in InsideAuthentication
}
CHECK = "clear text packets in eve's network"


@pytest.mark.parametrize(
    "inside_auth",
    [pytest.param(auth, marks=pytest.mark.runs(run)) for auth, run in RUNS.items()],
)
def test_a_node_gives_itself_away_unless_it_authenticates_the_inside(
    inside_auth: InsideAuthentication, runs: Sequence[Run]
):
    (run,) = runs
    assert run.failed == []
    given_away = next(c["value"] for c in run.summary["checks"] if c["name"] == CHECK)
    counts = clear_text_by_tshark(run.folder)
    assert counts.pop("eve-lan") == given_away
    page = unescape((run.folder / "report.html").read_text(encoding="utf-8"))
    assert "mn1 is lured from wifi1 into eve's network" in page
    assert f"In it, {given_away} packets of mn1 could be read" in page
    if inside_auth is InsideAuthentication.AH:
        assert given_away == 0
        assert not any(counts.values())
    else:
        # For two seconds, a probe every 10 ms, and an echo of none.
        assert given_away == pytest.approx(200, abs=20)
