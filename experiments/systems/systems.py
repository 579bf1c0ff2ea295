"""What another system is to the testbed, and which of them there are."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from mobivpn.variants import System
from topologies.addresses import Plan

HUB = "sg"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a system is given: hosts by name, addresses, a folder for its files, what ends it."""

    host: Callable[[str], Any]
    plan: Plan
    scratch: Path
    logs: Path
    stack: ExitStack


@dataclass(frozen=True, slots=True)
class OtherSystem:
    """`start` makes what is needed before the nodes have a link; once they do, `is_up` tells of a
    host whether its tunnel stands, and brings it up if it does not come by itself.

    What a tunnel is on the wire: UDP of these ports between sg and a node, and ESP. At sg, packets
    for nodes outside go by `outside_device`, those from them are heard there without their tunnel.
    """

    udp_ports: frozenset[int]
    outside_device: str
    start: Callable[[Surroundings], None]
    is_up: Callable[[Surroundings, str], bool]


def load(system: System) -> OtherSystem | None:
    """Return another system's tunnels; None for the seed's own and where there are none."""
    if not system.is_hub:
        return None
    found: OtherSystem = import_module(f"experiments.systems.{system.value}").SYSTEM
    return found
