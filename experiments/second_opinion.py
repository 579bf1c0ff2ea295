"""A second opinion on a run: tshark's, on its clear text and on every mobility message.

    python -m experiments.second_opinion results/2026-11-23-120000-walk

For the clear text, only the times at which mobile nodes were outside are taken from the testbed's
events, and nothing of our reading of packets.
"""

import argparse
import sys
from pathlib import Path

from experiments.clear_text import is_external, tshark_clear_text
from experiments.errors import ResultError
from experiments.measure.timeline import read_timeline
from experiments.mobility_messages import Opinion, opinion
from experiments.network_plan import plan_from_run
from experiments.resultset import ResultSet


def clear_text_by_tshark(folder: Path, tshark: str = "tshark") -> dict[str, int]:
    """Return the number of clear text packets on each link that is ever external."""
    results = ResultSet(folder)
    plan = plan_from_run(results.load_run())
    timeline = read_timeline(results.load_events(), plan.external_networks)
    links = results.links()
    nodes = [link for link in links if link in plan.node_by_name]
    captures = {
        link: results.capture_path(link) for link in links if is_external(link) or link in nodes
    }
    outside = {node: timeline.outside_intervals(node) for node in nodes}
    return tshark_clear_text(
        captures,
        outside,
        plan.vpn_prefix_bytes,
        tshark,
        attackers=plan.fake_networks.values(),
        bare_esp_ends=plan.bare_esp_ends,
        tunnel_end=plan.tunnel_end,
        hides_home_tests=plan.is_ours,
    )


def mobility_opinions(folder: Path, tshark: str = "tshark") -> dict[str, Opinion]:
    """Return what each link's capture holds of mobility messages."""
    results = ResultSet(folder)
    return {
        link: opinion(results.capture_path(link), results.keys_path, tshark)
        for link in results.links()
    }


def main(arguments: list[str] | None = None) -> int:
    """Print what each link holds; 0 if nothing is wrong, 1 if it is, 2 if a folder is damaged."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.second_opinion", description=__doc__
    )
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    try:
        counts = clear_text_by_tshark(options.folder)
        opinions = mobility_opinions(options.folder)
    except ResultError as error:
        print(error, file=sys.stderr)
        return 2
    for link, count in counts.items():
        print(f"{link}: {count} packets in clear")
    for link, found in opinions.items():
        print(
            f"{link}: {found.messages} mobility messages (tshark: {found.by_tshark}), "
            f"{found.bad_checksums} with a bad checksum, {found.malformed} malformed"
        )
    wrong = any(counts.values()) or not all(found.faultless for found in opinions.values())
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
