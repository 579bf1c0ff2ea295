"""A second opinion on a run's clear text: tshark alone, without our reading of packets.

    python -m experiments.second_opinion results/2026-11-23-120000-walk

Only the times at which mobile nodes were outside are taken from the testbed's events.
"""

import argparse
import sys
from pathlib import Path

from experiments.clear_text import is_external, tshark_clear_text
from experiments.errors import ResultError
from experiments.measure.timeline import read_timeline
from experiments.network_plan import plan_from_run
from experiments.resultset import ResultSet


def clear_text_by_tshark(folder: Path, tshark: str = "tshark") -> dict[str, int]:
    """Return the number of clear text packets on each link that is ever external."""
    results = ResultSet(folder)
    plan = plan_from_run(results.load_run())
    timeline = read_timeline(results.load_events(), plan.access_networks)
    links = results.links()
    nodes = [link for link in links if link in plan.node_by_name]
    captures = {
        link: results.capture_path(link) for link in links if is_external(link) or link in nodes
    }
    outside = {node: timeline.outside_intervals(node) for node in nodes}
    return tshark_clear_text(captures, outside, plan.vpn_prefix_bytes, tshark)


def main(arguments: list[str] | None = None) -> int:
    """Print the count of each link; 0 if there is none, 1 if there is, 2 if a folder is damaged."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.second_opinion", description=__doc__
    )
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    try:
        counts = clear_text_by_tshark(options.folder)
    except ResultError as error:
        print(error, file=sys.stderr)
        return 2
    for link, count in counts.items():
        print(f"{link}: {count}")
    return 1 if any(counts.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
