"""The fake network as a user meets it, with and without authentication of the inside."""

import json
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from experiments import runner
from experiments.runner import Options
from experiments.second_opinion import clear_text_by_tshark
from mobivpn.variants import InsideAuthentication

SHORT = """
name = "short"
summary = "As the experiment fake_network, and shorter"
duration_s = 8.0

[traffic]
between = ["mn1", "mn2"]
probe_interval_ms = 10

[[move]]
at_s = 1.0
node = "mn1"
to = "wifi1"

[[move]]
at_s = 3.0
node = "mn1"
to = "eve"

[[move]]
at_s = 5.0
node = "mn1"
to = "wifi2"

[[move]]
at_s = 6.5
node = "mn1"
to = "lan"
"""
CHECK = "clear text packets in eve's network"


@pytest.mark.parametrize("inside_auth", list(InsideAuthentication))
def test_a_node_gives_itself_away_unless_it_authenticates_the_inside(
    tmp_path: Path, inside_auth: InsideAuthentication
):
    scenario = tmp_path / "short.toml"
    scenario.write_text(SHORT)
    options = Options(results=tmp_path, variants={"inside_auth": inside_auth})
    folder = runner.run(str(scenario), options)
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    assert [check for check in summary["checks"] if not check["passed"]] == []
    given_away = next(c["value"] for c in summary["checks"] if c["name"] == CHECK)
    counts = clear_text_by_tshark(folder)
    assert counts.pop("eve-lan") == given_away
    page = unescape((folder / "report.html").read_text(encoding="utf-8"))
    assert "mn1 is lured from wifi1 into eve's network" in page
    assert f"In it, {given_away} packets of mn1 could be read" in page
    if inside_auth is InsideAuthentication.AH:
        assert given_away == 0
        assert not any(counts.values())
    else:
        # For two seconds, a probe every 10 ms, and an echo of none.
        assert given_away == pytest.approx(200, abs=20)
