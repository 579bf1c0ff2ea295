"""The testbed: figure 1 with its agents, controller, captures and traffic; always torn down.

Runs where it is root over a kernel that has everything: in the lab VM, or natively.
"""

import json
import math
import os
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

from mininet.log import setLogLevel
from mininet.net import Mininet

from agents.configuration import Configuration, GivenAssociation, write
from experiments import probe_format
from experiments.captures import Captures, interfaces_by_link
from experiments.programs import (
    Program,
    end,
    go_first,
    logged,
    wait_until,
)
from experiments.resultset import end_name
from experiments.scenario import Scenario
from experiments.systems import systems
from mobivpn.host.advertisements import mint_advertisements
from mobivpn.host.associations import mint_associations, share_of
from mobivpn.host.mtu import inner_mtu
from mobivpn.ipsec.sa import EspAlgorithm
from mobivpn.mip6.registration import Phase as RegistrationPhase
from mobivpn.variants import InsideAuthentication, System
from topologies.addresses import EVE, INSIDE_LINK, link_local
from topologies.attachment import Attachment
from topologies.fake_network import FAKE_LINK, imitate_inside
from topologies.links import DEFAULT_LINKS, LAN, LinkProfile, longest_round_trip_ms
from topologies.topo import build, configure

DEVICES = {
    "r22": {"lan": "r22-lan", "gateway": "r22-sg"},
    "ha": {"home": "ha-eth0"},
    "sg": {"inside": "sg-lan", "outside": "sg-ext"},
}
"""Those of the hosts that stay; a mobile node's are told by the beginning of their names."""
AT_ADVERTISEMENTS = frozenset({"internal_router", "mobile_node"})
"""The roles at an end of the association for the inside's router advertisements."""
READY_WITHIN_S = 60.0
START_WITHIN_S = 3.0
"""Time for traffic programs to start."""
USUAL_LINGER_MS = 500.0
"""How long both ends of probes wait at least for what is under way when they stop sending."""
SETTLE_S = 1.0
"""Virtual seconds between the last start and the first probe."""

# The least and the most that radvd waits between two advertisements (s). Where nodes solicit, some
# at random times between would keep flows in a switch alive, or not: with RFC 4861's largest
# intervals radvd sends its first ones at fixed distances of 16 s. Classic nodes wait for the next
# one, so it has to come before their next move. It comes at a random time, but at the same in every
# run: radvd seeds its generator with the second in which it starts.
ADVERTISEMENT_INTERVALS_S = {"hard": (1350, 1800), "soft": (1350, 1800), "classic": (1.5, 2)}
RADVD = """interface {device} {{
  AdvSendAdvert on;
  MinRtrAdvInterval {least_s};
  MaxRtrAdvInterval {most_s};
  MinDelayBetweenRAs 0.03;
  {more}
  prefix {prefix} {{ AdvOnLink on; AdvAutonomous on; AdvRouterAddr on; }};
}};
"""


def links_of(scenario: Scenario) -> dict[str, LinkProfile]:
    """Return the link profiles of a scenario: the defaults with what it sets."""
    links = dict(DEFAULT_LINKS)
    for name, link in scenario.links:
        links[name] = replace(links[name], **link.model_dump(exclude_none=True))
    lost = scenario.signalling_loss_percent
    return {name: replace(link, signalling_loss_percent=lost) for name, link in links.items()}


class Testbed:
    """One running testbed; enter it to build everything, leave it to tear everything down."""

    __test__ = False

    def __init__(self, scenario: Scenario, results: Path, scratch: Path) -> None:
        self.scenario = scenario
        self.plan = scenario.plan
        self._other = systems.load(scenario.system)
        names = [node.name for node in self.plan.company.nodes]
        self._roles = _roles(scenario.system, names)
        self._devices = DEVICES | {name: {"links": f"{name}-eth"} for name in names}
        self.links = links_of(scenario)
        self._results = results
        self._scratch = scratch
        self._stack = ExitStack()
        self._programs: dict[str, Program] = {}
        self._traffic: list[Program] = []
        self.net: Mininet
        self.attachment: Attachment

    def __enter__(self) -> "Testbed":
        try:
            self._build()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
        self._write_events()
        self._write_keys()

    def host(self, name: str) -> Any:
        """Return a Mininet node, or for "" the root namespace, where the switches are."""
        return self.net.get(name) if name else _Root()

    def _build(self) -> None:
        setLogLevel("error")
        for name in ("captures", "keys", "probes", "transfers", "logs", "databases"):
            (self._results / name).mkdir(parents=True, exist_ok=True)
        self._scratch.mkdir(parents=True, exist_ok=True)
        self._start_controller()
        self.net = build(self.plan)
        self._stack.callback(self.net.stop)
        self.net.start()
        configure(self.net, self.links, inner_mtu(), seed=self.scenario.seed, plan=self.plan)
        if self.scenario.visits_eve:
            imitate_inside(self.net, self.plan)
        captures = self._captures = Captures(
            self.host,
            self._scratch,
            self._results / "captures",
            self.captured_links(),
        )
        captures.start()
        self._stack.callback(captures.stop)
        self.attachment = Attachment(
            self.net,
            self.links,
            lambda event, node, network: self.record(event, node, network=network),
            seed=self.scenario.seed,
            on_new_link=captures.continue_on,
        )
        self._stack.callback(self.attachment.close)
        for node, network in self.scenario.place_at_start.items():
            self.attachment.begin(node, network)
        self._start_radvd()
        self._start_agents()
        self._stack.callback(self.stop_traffic)

    def record(self, event: str, node: str = "testbed", /, **details: object) -> None:
        """Write an event of the testbed itself."""
        line = {
            "time": time.time(),
            "node": node,
            "event": event,
            "numeral": None,
            "details": details,
        }
        with self.event_log("testbed").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def event_log(self, name: str) -> Path:
        """Return where a host's program writes its events, one JSON object a line."""
        return self._scratch / f"{name}.events"

    def _key_log(self, name: str) -> Path:
        return self._scratch / f"{name}.keys"

    def _start_controller(self) -> None:
        """Start the Ryu application in the root namespace, where the switches are."""
        configuration = self._scratch / "controller.json"
        company = self.plan.company
        configuration.write_text(
            json.dumps(
                {
                    "ports": {"sg": "s-sg-sg", "r22": "s-sg-r22", "monitor": "s-sg-mon"},
                    "mobile_nodes": [str(n.internal_home_address) for n in company.nodes],
                    "infrastructure": [str(company.vcm)],
                    "socket": str(self._scratch / "gateway.socket"),
                    "event_log": str(self.event_log("controller")),
                    "trigger": self.scenario.trigger.value,
                    "notice": self.scenario.notice.value,
                }
            )
        )
        program = Program(
            _Root(),
            "controllers.main",
            ["--config", str(configuration)],
            self._results / "logs" / "controller.log",
            name="controller",
        )
        self._programs["controller"] = program
        self._stack.callback(program.stop)

    def _start_radvd(self) -> None:
        routers = [
            (network.name, f"{network.name}-lan", network.prefix) for network in self.plan.access
        ]
        routers.append(("r22", INSIDE_LINK, self.plan.company.vpn_prefix))
        if self.scenario.visits_eve:
            routers.append((EVE, FAKE_LINK, self.plan.company.vpn_prefix))
        least_s, most_s = ADVERTISEMENT_INTERVALS_S[self.scenario.handover]
        for name, device, prefix in routers:
            path = self._scratch / f"radvd-{name}.conf"
            # The association is with all nodes: each is answered so that all can hear it.
            more = "AdvRASolicitedUnicast off;" if name == "r22" and self._authenticates else ""
            path.write_text(
                RADVD.format(
                    device=device, prefix=prefix, least_s=least_s, most_s=most_s, more=more
                )
            )
            with (self._results / "logs" / f"radvd-{name}.log").open("wb") as output:
                process = self.host(name).popen(
                    [
                        *("radvd", "--nodaemon", "--config", str(path), "--logmethod", "stderr"),
                        *("--pidfile", str(self._scratch / f"radvd-{name}.pid")),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                )
            go_first(process.pid)
            self._stack.callback(end, process)

    def captured_links(self) -> dict[str, tuple[str, str]]:
        """Return (host, interface) of every link that this testbed captures, by its name."""
        names = [node.name for node in self.plan.company.nodes]
        links = dict(interfaces_by_link(self.plan.company.vcm_at.value, names))
        if not self.scenario.visits_eve:
            del links[FAKE_LINK]
        return links

    @property
    def _authenticates(self) -> bool:
        return self.scenario.inside_auth is InsideAuthentication.AH

    def _start_agents(self) -> None:
        # Once, before there are many of them.
        for role in {*self._roles.values()}:
            import_module(f"agents.{role}")
        if self._other is not None:
            self._start_other(self._other)
        elif self.scenario.system is System.MIP6:
            self._start_plain()
        else:
            self._start_own()
        time.sleep(SETTLE_S)

    def _start_own(self) -> None:
        given = mint_associations(self.plan.company, self.scenario.given_algorithm, os.urandom)
        advertisements = (
            mint_advertisements(link_local(INSIDE_LINK), os.urandom)
            if self._authenticates
            else None
        )
        for name, role in self._roles.items():
            node = name if role == "mobile_node" else None
            self._start_agent(
                name,
                associations=tuple(
                    GivenAssociation(purpose, of, pair)
                    for (purpose, of), pair in share_of(given, role, node).items()
                ),
                key_log=str(self._key_log(name)),
                agent_delay_ms=self.scenario.agent_delay_ms,
                binding_keys=self.scenario.binding_auth == "static",
                classic=self.scenario.handover == "classic",
                algorithms=self.scenario.algorithms_of(name)
                if role == "mobile_node"
                else tuple(EspAlgorithm),
                advertisements=advertisements if role in AT_ADVERTISEMENTS else None,
                devices=self._devices.get(name, {}),
                outside_router=self.plan.gateway_router,
                gateway_socket=str(self._scratch / "gateway.socket"),
                database=str(self._scratch / "vcm.sqlite"),
            )
        inside, outside = self._places_at_start()
        self._wait_until_ready(inside)
        # With public addresses, a node has a care-of address inside as well, and sg knows it.
        bound = [*outside, *(inside if self.plan.company.is_public else ())]
        self._wait_for(bound, "registrations", self._is_registered)
        if not self.plan.company.binds_at_gateway:
            self._wait_for(outside, "MN-SG packets", self._has_used_its_association)

    def _start_other(self, other: systems.OtherSystem) -> None:
        """Start another system's tunnels, and what goes on beside them."""
        given = systems.Surroundings(
            self.host, self.plan, self._scratch, self._results / "logs", self._stack
        )
        other.start(given)
        beside = {
            "sg": {"inside": "sg-lan", "outside": other.outside_device},
            "r22": {"inside": "r22-lan", "outside": "r22-sg"},
        }
        routers = {"r22": self.plan.company.security_gateway_inside, "sg": None}
        if other.outside_device == DEVICES["sg"]["outside"]:
            routers["sg"] = self.plan.gateway_router
        for name in self._roles:
            self._start_agent(
                name,
                associations=(),
                devices=beside.get(name, self._devices[name]),
                outside_router=routers.get(name),
            )
        inside, outside = self._places_at_start()
        self._wait_until_ready(inside)
        self._wait_for(outside, "care-of address", self._has_logged("care_of_address"))
        self._wait_for((*inside, *outside), "tunnel", lambda name: other.is_up(given, name))

    def _start_plain(self) -> None:
        for name in self._roles:
            self._start_agent(name, associations=(), devices=self._devices[name])
        self._wait_until_ready(())
        self._wait_for(self.scenario.place_at_start, "registrations", self._is_registered)

    def _places_at_start(self) -> tuple[list[str], list[str]]:
        """Return the nodes that begin inside, and those that do not."""
        at = self.scenario.place_at_start
        return [n for n in at if at[n] == LAN], [n for n in at if at[n] != LAN]

    def _wait_until_ready(self, inside: Iterable[str]) -> None:
        self._wait_for(self._roles, "agent_ready", self._has_logged("agent_ready"))
        self._wait_for(inside, "mn_inside", self._has_logged("mn_inside"))

    def _start_agent(self, name: str, **told: Any) -> None:
        """Start a host's agent; `told` is what its configuration has beside what all have."""
        role, company = self._roles[name], self.plan.company
        path = self._scratch / f"{name}.json"
        write(
            Configuration(
                role=role,
                name=name,
                company=company,
                event_log=str(self.event_log(name)),
                variants=self.scenario.variants,
                **told,
            ),
            path,
        )
        agent = Program(
            self.host(company.vcm_at.value if role == "vcm" else name),
            f"agents.{role}",
            [str(path)],
            self._results / "logs" / f"{name}.log",
            name=f"agent of {name}",
        )
        self._programs[name] = agent
        self._stack.callback(agent.stop)

    def _wait_for(self, names: Iterable[str], what: str, so_far: Callable[[str], bool]) -> None:
        for name in names:

            def there(name: str = name) -> bool:
                self._programs[name].check()
                return so_far(name)

            wait_until(f"{what} of {name}", there, READY_WITHIN_S)

    def _has_logged(self, event: str) -> Callable[[str], bool]:
        return lambda name: bool(logged(self.event_log(name), event))

    def _has_used_its_association(self, name: str) -> bool:
        used = logged(self.event_log("sg"), "sg_association_used")
        return any(entry["details"]["node"] == name for entry in used)

    def _is_registered(self, name: str) -> bool:
        """Tell whether a node has registered with all that it wants to know where it is."""
        last = {
            entry["details"]["peer"]: entry["details"]["phase"]
            for entry in logged(self.event_log(name), "registration")
        }
        return bool(last) and set(last.values()) == {RegistrationPhase.REGISTERED.value}

    def start_traffic(self) -> float:
        """Start what the scenario wants sent; return time zero (CLOCK_REALTIME, s).

        That is a whole second, the same for all programs: runs then differ neither in the phase of
        the two streams nor in that of the moves.
        """
        traffic = self.scenario.traffic
        begin = float(math.ceil(time.time() + START_WITHIN_S))
        at = ["--start-at", str(begin + traffic.start_s)]
        if traffic.stop_s is not None:
            at += ["--stop-at", str(begin + traffic.stop_s)]
        one_way = {"forward": ("send", "receive"), "backward": ("receive", "send")}
        probing = one_way.get(traffic.direction, ("both", "both"))
        interval = (
            *("--interval-ms", str(traffic.probe_interval_ms)),
            *("--linger-ms", str(max(USUAL_LINGER_MS, longest_round_trip_ms(self.links)))),
            *("--payload-bytes", *map(str, traffic.payload_bytes)),
        )
        for number, _ in enumerate(traffic.pairs):
            more = (*at, *interval, "--port", str(probe_format.PORT + number))
            self._start_traffic("experiments.probes", "probes", number, probing, more)
        if traffic.tcp:
            carrying = one_way.get(traffic.direction, one_way["forward"])
            self._start_traffic("experiments.transfer", "transfers", 0, carrying, at)
        return begin

    def stop_traffic(self) -> None:
        """End both ends of all traffic at once, so that neither sends to one that has gone."""
        for program in self._traffic:
            program.ask_to_end()
        for program in self._traffic:
            program.stop()
        self._traffic.clear()

    def stop_captures(self) -> None:
        """End traffic and captures: what comes now is not among what is measured by them."""
        self.stop_traffic()
        self._captures.stop()

    def _start_traffic(
        self,
        module: str,
        folder: str,
        number: int,
        roles: tuple[str, str],
        more: Iterable[str],
    ) -> None:
        """Start both ends of what a pair sends; `number` is the pair's."""
        first, second = self.scenario.traffic.pairs[number]
        company = self.plan.company
        # The second end first: a receiver has to be there before its sender.
        for index, (own, other) in ((1, (second, first)), (0, (first, second))):
            log = end_name(own, other, number)
            self._traffic.append(
                Program(
                    self.host(own),
                    module,
                    [
                        *("--role", roles[index]),
                        *("--local", str(company.node(own).internal_home_address)),
                        *("--peer", str(company.node(other).internal_home_address)),
                        *("--output", str(self._results / folder / f"{log}.csv")),
                        *more,
                    ],
                    self._results / "logs" / f"{folder}-{log}.log",
                    name=f"{folder} of {log}",
                )
            )

    @property
    def pid_by_program(self) -> dict[str, int]:
        """The processes of controller and agents, by the names of their hosts."""
        return {name: program.pid for name, program in self._programs.items()}

    def dump_databases(self, moment: str, mover: str | None = None) -> None:
        """Keep the nodes' SAD and SPD as `ip xfrm` shows them, without keys.

        Of a `mover`, only its own and those of the nodes that it talks to.
        """
        pairs = [pair for pair in self.scenario.traffic.pairs if mover is None or mover in pair]
        nodes = dict.fromkeys(node for pair in pairs for node in pair)
        for name in (*nodes, "sg", "ha"):
            texts = []
            for arguments in (("state", "list", "nokeys"), ("policy", "list")):
                process = self.host(name).popen(
                    ["ip", "-6", "xfrm", *arguments], stdout=subprocess.PIPE
                )
                texts.append(process.communicate()[0].decode())
            path = self._results / "databases" / f"{moment}-{name}.txt"
            path.write_text("\n".join(texts))

    def check(self) -> None:
        """Raise TestbedError if an agent or the controller has ended."""
        for program in self._programs.values():
            program.check()

    def _write_events(self) -> None:
        lines = [
            line
            for path in sorted(self._scratch.glob("*.events"))
            for line in path.read_text().splitlines()
        ]
        lines.sort(key=lambda line: json.loads(line)["time"])
        (self._results / "events.jsonl").write_text("".join(f"{line}\n" for line in lines))

    def _write_keys(self) -> None:
        lines = {
            line
            for path in self._scratch.glob("*.keys")
            for line in path.read_text().splitlines(keepends=True)
        }
        path = self._results / "keys" / "esp_sa"
        path.touch(mode=0o600)
        path.write_text("".join(sorted(lines)))


def _roles(system: System, nodes: Iterable[str]) -> dict[str, str]:
    """Return the agents that a system has, by host; beside another VPN, what runs beside it."""
    if system is System.MIP6:
        return {"ha": "home_agent", **dict.fromkeys(nodes, "plain_node")}
    if system.is_hub:
        routers = {"r22": "learning_router", "sg": "learning_router"}
        return {**routers, **dict.fromkeys(nodes, "spoke")}
    return {
        "r22": "internal_router",
        "ha": "home_agent",
        "sg": "security_gateway",
        "vcm": "vcm",
        **dict.fromkeys(nodes, "mobile_node"),
    }


class _Root:
    """The root namespace as a host."""

    name = "root"

    def enter(self) -> None:
        """Stay."""

    def popen(self, *arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(*arguments, **options)
