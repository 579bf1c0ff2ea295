"""What an agent is told when it starts: one file per host, readable by its owner only."""

import os
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import msgspec

from mobivpn.errors import CallerError
from mobivpn.host.associations import Associations, Purpose
from mobivpn.host.plan import Company
from mobivpn.ipsec.minting import SaPair
from mobivpn.ipsec.sa import AuthenticationAssociation, EspAlgorithm, Spi
from mobivpn.variants import USUAL, Variants


@dataclass(frozen=True, slots=True)
class GivenAssociation:
    """One pre-existing association that this host is an end of."""

    purpose: Purpose
    node: str
    pair: SaPair


@dataclass(frozen=True, slots=True)
class Configuration:
    """One host's share of the testbed.

    `devices` names interfaces by what they are for (role dependent). `agent_delay_ms` holds back
    every effect of the agent. With `binding_keys`, the VCM sends keys for the nodes' bindings
    (RFC 4449). `algorithms` are those that a mobile node offers. A `classic` one waits for routers
    to advertise themselves, and for duplicate address detection. `advertisements` is the
    association under which the inside advertises itself, if it does under any. `event_log` and
    `key_log` are files; without a key log no key is written anywhere.
    """

    role: str
    name: str
    company: Company
    associations: tuple[GivenAssociation, ...]
    event_log: str
    key_log: str | None = None
    agent_delay_ms: float = 0.0
    link_mtu: int = 1500
    devices: dict[str, str] = field(default_factory=dict)
    outside_router: IPv6Address | None = None
    gateway_socket: str | None = None
    database: str | None = None
    pair_lifetime_s: float = 3600.0
    pair_idle_s: float = 60.0
    binding_keys: bool = False
    classic: bool = False
    algorithms: tuple[EspAlgorithm, ...] = tuple(EspAlgorithm)
    variants: Variants = USUAL
    advertisements: AuthenticationAssociation | None = None

    @property
    def given(self) -> Associations:
        """The associations by purpose and node."""
        return {(a.purpose, a.node): a.pair for a in self.associations}


def _encode(value: Any) -> Any:
    if isinstance(value, IPv6Address | IPv6Network):
        return str(value)
    if isinstance(value, Spi):
        return int(value)
    raise NotImplementedError(type(value))


def _decode(kind: type, value: Any) -> Any:
    if kind in (IPv6Address, IPv6Network, Spi):
        return kind(value)
    raise NotImplementedError(kind)


def write(configuration: Configuration, path: Path) -> None:
    """Write a configuration; it holds keys, so nobody but the owner may read it (mode 0600)."""
    text = msgspec.json.encode(configuration, enc_hook=_encode)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)


def read(path: Path) -> Configuration:
    """Read a configuration; raise CallerError naming the file and what is wrong in it."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Configuration, dec_hook=_decode)
    except (OSError, msgspec.MsgspecError) as error:
        raise CallerError(f"{path}: {error}") from error
