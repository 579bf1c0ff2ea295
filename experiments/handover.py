"""Handovers: both nodes leave, then change access networks in turn, as the seed has it."""

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import permutations, product
from math import floor
from pathlib import Path

from experiments import walk
from experiments.programs import logged, sleep_until
from experiments.scenario import Handovers, Scenario
from experiments.testbed import Testbed
from topologies.addresses import PLAN

ACCESS_NETWORKS = tuple(network.name for network in PLAN.access)
FIRST_NETWORKS = ("wifi1", "cell")
"""Where the two nodes go when they leave the company."""

DEPARTURE_PAUSE_S = 1.0
"""Before each of the two departures: the first is complete when the second begins."""
GRID_S = 0.05
"""A handover counts as complete at the next multiple of this: microseconds by which two runs differ
are then no difference of the moments that follow."""
GRID_TOLERANCE = 1e-3
COMPLETE_WITHIN_S = 300.0
END_S = 1.0


@dataclass(frozen=True, slots=True)
class Change:
    """A node's next network, and how long after the one before (s)."""

    node: str
    to: str
    pause_s: float


def draw(scenario: Scenario) -> Iterator[Change]:
    """Yield the two departures, then the handovers.

    Those of a node from one network to another that have come up least often come first.
    """
    handovers = scenario.handovers
    assert handovers is not None
    chance = random.Random(scenario.seed)
    here: dict[str, str] = dict(zip(scenario.traffic.between, FIRST_NETWORKS, strict=True))
    yield from (Change(node, network, DEPARTURE_PAUSE_S) for node, network in here.items())
    drawn: Counter[tuple[str, str, str]] = Counter()
    for _ in range(handovers.runs):
        possible = [
            (node, here[node], to)
            for node, to in product(here, ACCESS_NETWORKS)
            if to != here[node]
        ]
        fewest = min(drawn[way] for way in possible)
        way = chance.choice([way for way in possible if drawn[way] == fewest])
        drawn[way] += 1
        node, _, here[node] = way
        yield Change(node, here[node], chance.uniform(*handovers.pause_s))


@dataclass(slots=True)
class Registrations:
    """What a node's agent says of its registrations: to time a run by, never to measure it."""

    log: Path
    peers: Sequence[str]
    _read: int = 0
    _last: dict[str, tuple[str, float]] = field(default_factory=dict[str, tuple[str, float]])

    def stand(self, since: float) -> bool:
        """Tell whether each peer has acknowledged an update since then (CLOCK_REALTIME, s)."""
        with self.log.open(encoding="utf-8") as file:
            file.seek(self._read)
            while line := file.readline():
                event = json.loads(line)
                if event["event"] == "registration":
                    details = event["details"]
                    self._last[details["peer"]] = (details["phase"], event["time"])
            self._read = file.tell()
        last = [self._last.get(peer, ("", 0.0)) for peer in self.peers]
        return all(phase == "registered" and at >= since for phase, at in last)


def run(scenario: Scenario, results: Path, scratch: Path) -> float:
    """Run the handovers, return the time zero (s); docs/schema.md says what they leave."""
    return walk.run(scenario, results, scratch, conduct=_by_chance)


def _by_chance(testbed: Testbed, begin: float) -> None:
    """Make the handovers that the seed draws, each when the one before is complete."""
    scenario = testbed.scenario
    handovers = scenario.handovers
    assert handovers is not None
    registrations = {
        node: Registrations(testbed.event_log(node), who_must_know(peer, scenario))
        for node, peer in permutations(scenario.traffic.between)
    }
    next_at = begin
    for number, change in enumerate(draw(scenario), 1):
        sleep_until(next_at + change.pause_s)
        testbed.check()
        testbed.record("walk_step", change.node, number=number, to=change.to)
        moved_at = time.time()
        _move(testbed, change, handovers)
        next_at = time.time()
        if number >= len(FIRST_NETWORKS):
            since = {change.node: moved_at}
            next_at = _moment_when(partial(_complete, registrations, since), begin)
        else:
            # Where no signalling is lost, it is long before the pause is over.
            left_at = _moment_when(partial(_has_left, testbed), begin)
            if left_at > next_at + DEPARTURE_PAUSE_S:
                next_at = left_at
    sleep_until(next_at + END_S)


def who_must_know(peer: str, scenario: Scenario) -> tuple[str, ...]:
    """Return home agent, gateway and the node's peer, as event logs name them.

    Gateway and peer only where a node outside tells them where it is.
    """
    company = scenario.plan.company
    known = [company.home_agent]
    if company.binds_at_gateway:
        known.append(company.security_gateway)
    if scenario.variants.best_path.has_bindings:
        known.append(company.node(peer).external_home_address)
    return tuple(str(address) for address in known)


def _move(testbed: Testbed, change: Change, handovers: Handovers) -> None:
    attachment = testbed.attachment
    if testbed.scenario.is_soft(attachment.network(change.node), change.to):
        attachment.begin_overlap(change.node, change.to)
        time.sleep(handovers.overlap_ms / 1000)
        attachment.end_overlap(change.node, change.to)
    else:
        attachment.move(change.node, change.to, handovers.gap_ms, handovers.attach)


def _complete(registrations: Mapping[str, Registrations], since: Mapping[str, float]) -> bool:
    """Tell whether everybody knows where both nodes are.

    What a node that has moved was told before `since` does not count.
    """
    return all(known.stand(since.get(node, 0.0)) for node, known in registrations.items())


def _has_left(testbed: Testbed) -> bool:
    """Tell whether r22 stands in for a node: packets inside then find their way to it."""
    return bool(logged(testbed.event_log("r22"), "node_absent"))


def _moment_when(condition: Callable[[], bool], begin: float) -> float:
    """Wait until something is so; return when that was (CLOCK_REALTIME, s).

    What is not so in time is a result as well: the run goes on.
    """
    at = time.time()
    ends_at = at + COMPLETE_WITHIN_S
    while at < ends_at:
        at = begin + GRID_S * (floor((at - begin) / GRID_S + GRID_TOLERANCE) + 1)
        sleep_until(at)
        if condition():
            break
    return at
