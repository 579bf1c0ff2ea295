"""The local socket between the two halves of the gateway: the sg agent and the Ryu application.

Unix datagrams, in order and without loss. The agent tells who is outside; the application has
notices (202) sent, in the signalling's own encoding.
"""

import socket
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import msgspec

from mobivpn.errors import MalformedError
from mobivpn.sessions.gateway import Notice
from mobivpn.signalling import codec
from mobivpn.signalling.messages import Envelope

MOST_BYTES = 65536


@dataclass(frozen=True, slots=True)
class NodeOutside:
    """A node is outside, or (no external home address) inside again."""

    internal_home_address: IPv6Address
    external_home_address: IPv6Address | None
    care_of_address: IPv6Address | None


@dataclass(frozen=True, slots=True)
class PairOver:
    """Two nodes are not direct any more; `idle`: because they did not talk."""

    first: IPv6Address
    second: IPv6Address
    idle: bool


Telling = NodeOutside | PairOver
_KINDS: dict[str, type[Telling]] = {"node": NodeOutside, "pair": PairOver}


def _to_text(value: Any) -> str:
    return str(value)


def _from_text(kind: type, value: Any) -> Any:
    return kind(str(value))


def encode(telling: Telling) -> bytes:
    """Return what the agent sends to the application."""
    kind = next(name for name, cls in _KINDS.items() if isinstance(telling, cls))
    return msgspec.json.encode([kind, telling], enc_hook=_to_text)


def decode(data: bytes) -> Telling:
    """Return what the agent has sent; raise MalformedError for anything else."""
    try:
        kind, body = msgspec.json.decode(data, type=tuple[str, dict[str, Any]])
        return msgspec.convert(body, _KINDS[kind], dec_hook=_from_text)
    except (msgspec.MsgspecError, KeyError) as error:
        raise MalformedError("bad-telling", str(error)) from error


def encode_notice(notice: Notice) -> bytes:
    """Return what the application sends to the agent."""
    return codec.encode(Envelope(0, 0, notice))


def decode_notice(data: bytes) -> Any:
    """Return the notice that the application wants sent; raise MalformedError for another thing."""
    return codec.decode(data).message


class GatewayLink:
    """One end: bound to `own`, speaking to `other`."""

    def __init__(self, own: Path, other: Path) -> None:
        self._other = str(other)
        self.file = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        own.unlink(missing_ok=True)
        self.file.bind(str(own))

    def send(self, data: bytes) -> None:
        """Send a datagram; raise OSError if the other end is not there."""
        self.file.sendto(data, self._other)

    def receive(self) -> bytes:
        """Wait for a datagram."""
        return self.file.recv(MOST_BYTES)


def application_path(path: Path) -> Path:
    """Return where the application's end is bound, given the link's path."""
    return path


def agent_path(path: Path) -> Path:
    """Return where the agent's end is bound, given the link's path."""
    return path.with_name(f"{path.name}.agent")
