"""strongSwan, hub and spoke: IKEv2 with MOBIKE (RFC 4555), one charon in each host.

Pre-shared keys, all else as it is without a word in swanctl.conf(5); what is set is said below.
Every node's tunnel stands from the beginning on, inside as well. charon hears of a movement by the
kernel's events, and tells the hub where the node is by MOBIKE.
"""

import secrets
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from experiments.programs import TestbedError, end, go_first, wait_until
from experiments.systems.systems import HUB, OtherSystem, Surroundings
from mobivpn.host.node_databases import VPN_DEVICE
from topologies.addresses import Plan
from topologies.topo import in_host

IKE_PORTS = frozenset({500, 4500})
PROPOSAL, ESP_PROPOSAL = "aes128-sha256-ecp256", "aes256gcm16"
"""Of the IKE SA, and of the CHILD SA: MN-SG has the latter as well."""
CONNECTION, CHILD = "company", "company"
PLUGINS = "random nonce openssl sha2 hmac kdf kernel-netlink socket-default vici"
IGNORED = f"{VPN_DEVICE}, sg-lan"
"""Interfaces whose addresses nobody outside has a way to: MOBIKE would tell the hub of them."""
DAEMON = "charon-systemd"
READY_WITHIN_S = 30.0
INITIATION_S = 5

# Routes are for whoever moves the node (agents.spoke): a VPN's go to a device that swallows what no
# policy protects.
SETTINGS = """charon-systemd {{
  load = {plugins}
  install_routes = no
  interfaces_ignore = {ignored}
  plugins {{
    vici {{
      socket = unix://{socket}
    }}
  }}
  filelog {{
    log {{
      path = {log}
      default = 1
      flush_line = yes
    }}
  }}
}}
"""


def start(given: Surroundings) -> None:
    """Start a daemon in the hub and in every node, and give each what it is to know."""
    names = (HUB, *(node.name for node in given.plan.company.nodes))
    shared = {name: secrets.token_hex(32) for name in names if name != HUB}
    for name in names:
        _start_daemon(given, name)
    for name in names:
        wait_until(f"charon of {name}", _socket(given, name).exists, READY_WITHIN_S)
        path = given.scratch / f"{name}.swanctl.conf"
        path.touch(mode=0o600)
        path.write_text("\n".join(configuration(name, shared, given.plan)) + "\n")
        done = _swanctl(given, name, "--load-all", "--noprompt", "--file", str(path))
        if done.returncode:
            raise TestbedError(f"swanctl --load-all of {name}: {_last_line(done)}")


def _start_daemon(given: Surroundings, name: str) -> None:
    settings, log = given.scratch / f"{name}.strongswan.conf", given.logs / f"charon-{name}.log"
    settings.write_text(
        SETTINGS.format(plugins=PLUGINS, ignored=IGNORED, socket=_socket(given, name), log=log)
    )
    host = given.host(name)
    if name != HUB:
        in_host(host, f"ip link add {VPN_DEVICE} type dummy\nip link set {VPN_DEVICE} up\n")
    with log.open("ab") as output:
        process = host.popen(
            ["env", f"STRONGSWAN_CONF={settings}", DAEMON],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    go_first(process.pid)
    given.stack.callback(end, process, f"charon of {name}")


def _socket(given: Surroundings, name: str) -> Path:
    return given.scratch / f"{name}.vici"


def configuration(name: str, shared: Mapping[str, str], plan: Plan) -> Iterator[str]:
    """Yield the lines of one host's swanctl.conf: a node's connection, or the hub's with all."""
    company = plan.company
    yield "connections {"
    for node in company.nodes:
        if name not in (HUB, node.name):
            continue
        own, far = f"{node.internal_home_address}/128", str(company.vpn_prefix)
        local, remote = (far, own) if name == HUB else (own, far)
        ends = (HUB, node.name) if name == HUB else (node.name, HUB)
        address = "" if name == HUB else f"remote_addrs = {company.security_gateway}"
        yield f"""  {node.name if name == HUB else CONNECTION} {{
    version = 2
    proposals = {PROPOSAL}
    {address}
    local {{
      auth = psk
      id = {ends[0]}
    }}
    remote {{
      auth = psk
      id = {ends[1]}
    }}
    children {{
      {CHILD} {{
        local_ts = {local}
        remote_ts = {remote}
        esp_proposals = {ESP_PROPOSAL}
      }}
    }}
  }}"""
    yield from ("}", "secrets {")
    for node, secret in shared.items():
        if name in (HUB, node):
            yield f"""  ike-{node} {{
    id-1 = {node}
    id-2 = {HUB}
    secret = 0x{secret}
  }}"""
    yield "}"


def is_up(given: Surroundings, name: str) -> bool:
    """Bring a node's tunnel up, from where it is; tell whether it stands."""
    command = ("--initiate", "--child", CHILD, "--timeout", str(INITIATION_S))
    return _swanctl(given, name, *command).returncode == 0


def _swanctl(given: Surroundings, name: str, *command: str) -> subprocess.CompletedProcess[bytes]:
    """Run swanctl(8); it finds its daemon by a socket of the host's own."""
    uri = f"unix://{_socket(given, name)}"
    full = ["swanctl", command[0], "--uri", uri, *command[1:]]
    process = given.host(name).popen(full, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = process.communicate()[0]
    return subprocess.CompletedProcess(full, process.returncode, said)


def _last_line(done: subprocess.CompletedProcess[bytes]) -> str:
    return (done.stdout.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]


SYSTEM = OtherSystem(udp_ports=IKE_PORTS, outside_device="sg-ext", start=start, is_up=is_up)
