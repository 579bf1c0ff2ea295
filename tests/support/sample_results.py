"""A whole result folder without a lab: the synthetic walk, measured, with what the testbed adds.

The databases are what `ip -6 xfrm` of Linux 6.12 prints for such entries, shortened.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from experiments.analyse import analyse
from tests.support.synthetic_walk import BEGIN_NS, HOME, INNER, MOVES, SyntheticWalk

GATEWAY = "2001:db8:5::5"
CARE_OF = {"mn1": "2001:db8:1::1", "mn2": "2001:db8:3::2"}
BEGIN_S = BEGIN_NS / 1e9


def run_description() -> dict[str, Any]:
    """Return run.json as the testbed and the runner leave it after a default walk."""
    moves = [
        {"at_s": down / 1000, "node": node, "to": to, "gap_ms": up - down, "attach": "replug"}
        for node, _, to, down, up in MOVES
    ]

    def link(delay_ms: float, rate_mbit: float) -> dict[str, float]:
        return {"delay_ms": delay_ms, "rate_mbit": rate_mbit, "loss_percent": 0.0}

    return {
        "schema": 1,
        "experiment": "walk",
        "scenario": {
            "name": "walk",
            "summary": "Two mobile nodes leave, talk directly, move, and come home",
            "seed": 1,
            "duration_s": 7.0,
            "traffic": {"between": ["mn1", "mn2"], "probe_interval_ms": 10.0, "tcp": False},
            "move": moves,
        },
        "embodiment": 1,
        "clock": "virtual",
        "machine": "uml",
        "seed": 1,
        "agent_delay_ms": 0.0,
        "versions": {
            "mobivpn": "0.1.0",
            "revision": "0123abc",
            "kernel": "6.12.48",
            "python": "3.11.2",
            "openvswitch": "3.1.0",
            "mininet": "2.3.0",
            "ryu": "4.34",
        },
        "links": {
            "lan": link(0.2, 1000.0),
            "sg": link(15.0, 100.0),
            "ha": link(20.0, 100.0),
            "wifi1": link(5.0, 50.0),
            "wifi2": link(8.0, 50.0),
            "cell": link(30.0, 20.0),
        },
        "addresses": {
            "vpn_prefixes": ["fd00:10::/64"],
            "security_gateway": GATEWAY,
            "security_gateway_inside": "fd00:5::5",
            "internal_router": "fd00:5::1",
            "vcm": "fd00:10::9",
            "home_agent": "2001:db8:ee::1",
            "signalling_port": 5202,
            "nodes": {
                node: {"internal_home_address": INNER[node], "external_home_address": HOME[node]}
                for node in INNER
            },
        },
        "pair": ["mn1", "mn2"],
        "moves": moves,
        "time_zero": BEGIN_S,
        "wall_seconds": 48.2,
        "wall_by_part": {"lab": 48.2, "analysis": 9.4, "report": 4.1},
    }


def write_sample(folder: Path, interval_ms: float = 10.0) -> Path:
    """Write a walk that passes, as `./lab run walk` leaves it before its report is drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    walk = SyntheticWalk(folder, interval_ms, run=run_description())
    walk.event(0, "testbed", "walk_begin")
    for number, (node, _, to, down_ms, _) in enumerate(MOVES, 1):
        walk.event(down_ms, node, "walk_step", number=number, to=to)
        inside = to == "lan"
        walk.event(down_ms + 0.4, node, "mn_inside" if inside else "mn_left", device=f"{node}-eth0")
    walk.event(2020, "sg", "sg_session_detected", nodes=[INNER["mn1"], INNER["mn2"]])
    for node, at_ms in (("mn1", 2132.4), ("mn2", 2107.4)):
        walk.event(at_ms, node, "outbound_switched", pair="pair")
    walk.event(7000, "testbed", "walk_end")
    walk.write()
    analyse(folder)
    write_databases(folder / "databases")
    return folder


def write_databases(folder: Path) -> None:
    """Write the dumps of the nodes at every moment of the walk."""
    folder.mkdir(exist_ok=True)
    away: dict[str, set[str]] = {
        "start": set(),
        "before-move-1": set(),
        "before-move-2": {"mn2"},
        "before-move-3": {"mn1", "mn2"},
        "before-move-4": {"mn1", "mn2"},
        "before-move-5": {"mn1", "mn2"},
        "before-move-6": {"mn2"},
        "end": set(),
    }
    for moment, outside in away.items():
        for node, peer in (("mn1", "mn2"), ("mn2", "mn1")):
            text = _node(node, peer, node in outside, outside >= {node, peer})
            folder.joinpath(f"{moment}-{node}.txt").write_text(text)
        folder.joinpath(f"{moment}-sg.txt").write_text(_gateway(outside))


def _node(node: str, peer: str, away: bool, direct: bool) -> str:
    inner, home, vpn = f"{INNER[node]}/128", HOME[node], "fd00:10::/64"
    to_gateway, from_gateway = 0x1001, 0x1002
    states = [
        _esp(home, GATEWAY, to_gateway, f"src {inner} dst {vpn}"),
        _esp(GATEWAY, home, from_gateway, f"src {vpn} dst {inner}"),
    ]
    policies = [_policy(inner, "::/0", "out", 9000, action="block")]
    if away:
        states += [_binding(home, GATEWAY, "hao", node), _binding("::", home, "route2", node)]
        hao = (home, GATEWAY, "hao", "ro")
        policies += [
            _policy(inner, vpn, "out", 1000, [(home, GATEWAY, "esp", "tunnel"), hao]),
            _policy(vpn, inner, "in", 1000, [("::", "::", "esp", "tunnel")]),
        ]
    else:
        policies += [_policy(inner, vpn, "out", 8000), _policy(vpn, inner, "in", 8000)]
    if direct:
        other, there = f"{INNER[peer]}/128", HOME[peer]
        states += [
            _esp(home, there, 0xC0DE01, f"src {inner} dst {other}"),
            _esp(there, home, 0xC0DE02, f"src {other} dst {inner}"),
            _binding(home, there, "route2", peer),
        ]
        policies.append(_policy(inner, other, "out", 500, [(home, there, "esp", "tunnel")]))
    return "".join(states) + "\n" + "".join(policies)


def _gateway(outside: set[str]) -> str:
    states, policies = [], []
    for node, home in HOME.items():
        inner, vpn = f"{INNER[node]}/128", "fd00:10::/64"
        states.append(_esp(home, GATEWAY, 0x1001, f"src {inner} dst {vpn}"))
        if node in outside:
            states.append(_esp(GATEWAY, home, 0x1002, f"src {vpn} dst {inner}"))
            states.append(_binding(GATEWAY, home, "route2", node))
            template = [(GATEWAY, home, "esp", "tunnel")]
            policies.append(_policy(vpn, inner, "out", 1000, template))
    return "".join(states) + "\n" + "".join(policies)


def _esp(source: str, destination: str, spi: int, selector: str) -> str:
    return (
        f"src {source} dst {destination}\n\tproto esp spi {spi:#010x} reqid 1 mode tunnel\n"
        "\treplay-window 0 flag esn\n\taead rfc4106(gcm(aes)) <<Keys hidden>> 128\n"
        "\tanti-replay esn context:\n\t seq-hi 0x0, seq 0x0, oseq-hi 0x0, oseq 0x0\n"
        "\t replay_window 4096, bitmap-length 128\n\t 00000000 00000000 \n"
        f"\tsel {selector} \n"
    )


def _binding(source: str, destination: str, protocol: str, node: str) -> str:
    return (
        f"src {source} dst {destination}\n\tproto {protocol} reqid 0 mode ro\n"
        f"\treplay-window 0 \n\tcoa {CARE_OF[node]}\n"
        "\tanti-replay context: seq 0x0, oseq 0x0, bitmap 0x00000000\n"
        "\tsel src ::/0 dst ::/0 \n"
    )


def _policy(
    source: str,
    destination: str,
    direction: str,
    priority: int,
    templates: Iterable[tuple[str, str, str, str]] = (),
    action: str = "",
) -> str:
    head = f"\tdir {direction} {f'action {action} ' if action else ''}priority {priority}"
    lines = [f"src {source} dst {destination} \n{head} ptype main \n"]
    for here, there, protocol, mode in templates:
        lines.append(f"\ttmpl src {here} dst {there}\n\t\tproto {protocol} reqid 1 mode {mode}\n")
    return "".join(lines)
