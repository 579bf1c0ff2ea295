"""The matrix of options: all of it with --matrix, else a sample with every value in it."""

from collections.abc import Sequence
from itertools import groupby

import pytest
import tomli_w

from experiments.network_plan import INSIDE
from experiments.paths import PacketPath
from experiments.resultset import ResultSet
from tests.support.matrix import (
    Row,
    count_outside,
    in_words,
    matrix,
    name_of,
    sample,
    scenario_of,
)
from tests.support.runs import Run, asked

PATHS = {0: PacketPath.INSIDE, 1: PacketPath.VIA_GATEWAY, 2: PacketPath.DIRECT}
"""Where packets have to be, by how many of the two nodes are outside."""
BY_THE_SWITCH = ("probes lost by the switch", "echoes lost by the switch")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give the test its runs."""
    rows = matrix() if metafunc.config.getoption("matrix") else sample()
    metafunc.parametrize("row", [_param(name_of(row), row) for row in rows])


def _param(name: str, row: Row) -> object:
    text = tomli_w.dumps(scenario_of(name, row))
    run = asked("--no-page", written=(f"{name}.toml", text))
    return pytest.param(row, id=name, marks=[pytest.mark.runs(run), pytest.mark.matrix])


@pytest.fixture(autouse=True)
def _options(row: Row) -> None:
    """Name the options, for the account of a run that fails."""
    print(in_words(row))


def test_whatever_the_options_nodes_go_direct_and_come_back_and_lose_nothing(
    row: Row, runs: Sequence[Run]
):
    (run,) = runs
    told = f"results: {run.folder}\nrepeat: {run.command}"
    summary = run.summary
    assert run.failed == [], told
    lost = {
        check["name"]: (check["value"], check["limit"])
        for check in summary["checks"]
        if check["name"] in BY_THE_SWITCH
    }
    assert lost == dict.fromkeys(BY_THE_SWITCH, (0, 0)), told
    assert summary["lost_by_phase"]["switch_to_direct"] == 0, told
    assert summary["clear_text_packets_outside"] == 0, told
    assert last_paths(run) == [
        (outside, {PATHS[outside].value}) for outside in count_outside(row)
    ], told


def last_paths(run: Run) -> list[tuple[int, set[str]]]:
    """Return, for each time between two moves in which something was sent, how many of the nodes
    were outside, and by which paths the last probes that arrived went, in all directions."""
    arrived = [row for row in ResultSet(run.folder).load_table("probes") if row["arrived_s"]]
    arrived.sort(key=lambda row: float(row["sent_s"]))
    found = []
    for places, probes in groupby(arrived, _places):
        last = {probe["sender"]: probe["path"] for probe in probes}
        found.append((sum(place != INSIDE for _, place in places), set(last.values())))
    return found


def _places(probe: dict[str, str]) -> tuple[tuple[str, str], ...]:
    sender = probe["sender"]
    peer = "mn1" if sender == "mn2" else "mn2"
    return tuple(sorted({sender: probe["sender_place"], peer: probe["receiver_place"]}.items()))
