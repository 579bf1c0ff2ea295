"""Messages as JSON: readable in Wireshark, in the words of RFC 9061, encoded as RFC 7951 says.

    {"epoch": 1, "number": 7, "mobivpn:peer-ready": {"pair": 3, "generation": 1}}

The decoder takes exactly what the encoder makes; anything else is a `MalformedError`.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from ipaddress import IPv6Address, IPv6Network
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec

from mobivpn.errors import CallerError, MalformedError
from mobivpn.ipsec.keying import GivenKeys, KeyAgreement, PairKeys
from mobivpn.ipsec.sa import AssociationPlan, EspAlgorithm, Mode, Spi, Transform
from mobivpn.signalling.messages import (
    Answer,
    BindingKeys,
    Envelope,
    Message,
    Request,
    SaOffer,
)

MAX_DATAGRAM_BYTES = 1232
"""A UDP payload in an IPv6 packet of the minimum MTU (RFC 8200 section 5): never fragmented."""

MODULE = "mobivpn"
T = TypeVar("T")
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""RFC 7951: numbers beyond 2^53 would not be numbers."""


class _Wire(
    msgspec.Struct, frozen=True, rename="kebab", forbid_unknown_fields=True, omit_defaults=True
):
    pass


class _Name(_Wire, frozen=True):
    epoch: Count
    number: Count


class _TrafficSelector(_Wire, frozen=True):
    local_prefix: IPv6Network
    remote_prefix: IPv6Network


class _Encryption(_Wire, frozen=True):
    """RFC 9061 names algorithms by their IKEv2 numbers; lengths are bits."""

    algorithm_type: int
    key_length: int


class _EspAlgorithms(_Wire, frozen=True):
    """RFC 9061 `esp-algorithms`; no integrity where the encryption has its own."""

    encryption: _Encryption
    integrity: int | None = None


class _Key(_Wire, frozen=True):
    """Base64 (RFC 7951 section 6.6): in RFC 9061's hex-string the longest offer would not fit."""

    key: bytes


class _EspSa(_Wire, frozen=True):
    encryption: _Key
    integrity: _Key | None = None


class _Tunnel(_Wire, frozen=True):
    local: IPv6Address
    remote: IPv6Address


class _SadEntry(_Wire, frozen=True):
    """RFC 9061 `sad-entry`: what is an SA's own; of its name, what pair and generation leave."""

    name: str
    spi: int
    esp_sa: _EspSa | None = None
    """Without it, both ends derive its keys."""


class _BindingKeys(_Wire, frozen=True):
    """Beside the words of RFC 9061, which knows no Mobile IPv6; base64 (RFC 7951 section 6.6)."""

    inbound: bytes
    outbound: bytes


class _KeyAgreement(_Wire, frozen=True):
    """Beside RFC 9061 too, which knows only keys that the controller gives."""

    own_public_key: bytes
    peer_public_key: bytes
    own_private_key: bytes | None = None


class _SaOffer(_Wire, frozen=True):
    """What both SAs have in common stands once, in the words of RFC 9061 `ipsec-sa-cfg`."""

    pair: Count
    generation: Count
    peer_internal_home_address: IPv6Address
    peer_external_home_address: IPv6Address
    lifetime_s: Count
    reqid: Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
    ext_seq_num: Literal[True]
    anti_replay_window_size: int
    mode: Mode
    esp_algorithms: _EspAlgorithms
    tunnel: _Tunnel
    inbound: _SadEntry
    outbound: _SadEntry
    traffic_selector: _TrafficSelector | None = None
    key_agreement: _KeyAgreement | None = None
    binding_keys: _BindingKeys | None = None


def _wire_name(identifier: str) -> str:
    """Return SaOffer as sa-offer and lifetime_s as lifetime-s."""
    humps = "".join(f"-{c.lower()}" if c.isupper() else c for c in identifier)
    return humps.lstrip("-").replace("_", "-")


_KINDS: Mapping[str, type[Message]] = {
    f"{MODULE}:{_wire_name(kind.__name__)}": kind for kind in get_args(Request) + get_args(Answer)
}


def encode(envelope: Envelope) -> bytes:
    """Return a datagram; raise CallerError for one that would not fit."""
    data = msgspec.json.encode(
        {
            "epoch": envelope.epoch,
            "number": envelope.number,
            **_message_to_wire(envelope.message),
        },
        enc_hook=_encode_hook,
    )
    if len(data) > MAX_DATAGRAM_BYTES:
        raise CallerError(f"{type(envelope.message).__name__} of {len(data)} bytes does not fit")
    return data


def decode(data: bytes) -> Envelope:
    """Return the envelope in a datagram; raise MalformedError with the reason."""
    members = _members(data)
    name = _convert({key: members.pop(key, None) for key in ("epoch", "number")}, _Name)
    return Envelope(name.epoch, name.number, _message_from_wire(members))


def encode_message(message: Message) -> bytes:
    """Return a message without its envelope, for a link that loses nothing."""
    return msgspec.json.encode(_message_to_wire(message), enc_hook=_encode_hook)


def decode_message(data: bytes) -> Message:
    """Return the message that `encode_message` made; raise MalformedError with the reason."""
    return _message_from_wire(_members(data))


def _members(data: bytes) -> dict[str, object]:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError("not-json", str(error)) from error


def _message_to_wire(message: Message) -> dict[str, object]:
    name = f"{MODULE}:{_wire_name(type(message).__name__)}"
    if isinstance(message, SaOffer):
        return {name: _offer_to_wire(message)}
    values = ((f, getattr(message, f.name)) for f in fields(message))
    return {name: {_wire_name(f.name): value for f, value in values if value != f.default}}


def _message_from_wire(members: dict[str, object]) -> Message:
    if len(members) != 1:
        raise MalformedError("not-one-message", ", ".join(members))
    ((name, body),) = members.items()
    kind = _KINDS.get(name)
    if kind is None:
        raise MalformedError("unknown-message", name)
    if kind is SaOffer:
        return _offer_from_wire(_convert(body, _SaOffer))
    given = _convert(body, dict[str, Any])
    known = {_wire_name(f.name): f for f in fields(kind)}
    if unknown := given.keys() - known.keys():
        raise MalformedError("unknown-field", f"{name}: {', '.join(sorted(unknown))}")
    if any(f.default is MISSING and wire not in given for wire, f in known.items()):
        raise MalformedError("missing-field", name)
    return _convert({known[wire].name: value for wire, value in given.items()}, kind)


def _convert(value: object, kind: type[T]) -> T:
    try:
        return msgspec.convert(value, kind, dec_hook=_decode_hook)
    except (msgspec.ValidationError, CallerError) as error:
        raise MalformedError("bad-value", str(error)) from error


def _encode_hook(value: object) -> object:
    if isinstance(value, IPv6Address | IPv6Network):
        return str(value)
    raise NotImplementedError(type(value))


def _decode_hook(kind: type, value: object) -> object:
    """Parse an address; only its canonical text is taken (RFC 5952)."""
    if kind in (IPv6Address, IPv6Network) and isinstance(value, str):
        parsed = kind(value)
        if str(parsed) == value:
            return parsed
    raise ValueError(f"{value!r} is not an {kind.__name__}")


def _offer_to_wire(offer: SaOffer) -> _SaOffer:
    sa, keys = offer.outbound, offer.keys
    given = (keys.inbound, keys.outbound) if isinstance(keys, GivenKeys) else (None, None)
    transform = sa.algorithm.transform
    return _SaOffer(
        pair=offer.pair,
        generation=offer.generation,
        peer_internal_home_address=offer.peer_internal_home_address,
        peer_external_home_address=offer.peer_external_home_address,
        lifetime_s=offer.lifetime_s,
        reqid=sa.reqid,
        ext_seq_num=True,
        anti_replay_window_size=sa.anti_replay_window,
        mode=sa.mode,
        esp_algorithms=_esp_algorithms(transform),
        tunnel=_Tunnel(sa.source, sa.destination),
        inbound=_sad_entry(offer, offer.inbound, given[0]),
        outbound=_sad_entry(offer, sa, given[1]),
        traffic_selector=(
            None
            if sa.inner_source is None or sa.inner_destination is None
            else _TrafficSelector(sa.inner_source, sa.inner_destination)
        ),
        key_agreement=(
            _KeyAgreement(keys.own_public_key, keys.peer_public_key, keys.own_private_key)
            if isinstance(keys, KeyAgreement)
            else None
        ),
        binding_keys=(
            None
            if offer.binding_keys is None
            else _BindingKeys(offer.binding_keys.inbound, offer.binding_keys.outbound)
        ),
    )


def _offer_from_wire(wire: _SaOffer) -> SaOffer:
    try:
        outbound = _outbound(wire)
        return SaOffer(
            pair=wire.pair,
            generation=wire.generation,
            peer_internal_home_address=wire.peer_internal_home_address,
            peer_external_home_address=wire.peer_external_home_address,
            inbound=replace(
                outbound,
                name=_prefix(wire) + wire.inbound.name,
                spi=Spi(wire.inbound.spi),
                source=outbound.destination,
                destination=outbound.source,
                inner_source=outbound.inner_destination,
                inner_destination=outbound.inner_source,
            ),
            outbound=outbound,
            keys=_keys(wire),
            lifetime_s=wire.lifetime_s,
            binding_keys=(
                None
                if wire.binding_keys is None
                else BindingKeys(wire.binding_keys.inbound, wire.binding_keys.outbound)
            ),
        )
    except (CallerError, ValueError) as error:
        raise MalformedError("bad-association", str(error)) from error


def _esp_algorithms(transform: Transform) -> _EspAlgorithms:
    return _EspAlgorithms(
        _Encryption(transform.encryption, 8 * transform.key_bytes), transform.integrity or None
    )


_ALGORITHMS = {_esp_algorithms(algorithm.transform): algorithm for algorithm in EspAlgorithm}


def _outbound(wire: _SaOffer) -> AssociationPlan:
    algorithm = _ALGORITHMS.get(wire.esp_algorithms)
    if algorithm is None:
        raise CallerError("no such algorithm")
    selector = wire.traffic_selector
    return AssociationPlan(
        name=_prefix(wire) + wire.outbound.name,
        reqid=wire.reqid,
        spi=Spi(wire.outbound.spi),
        source=wire.tunnel.local,
        destination=wire.tunnel.remote,
        mode=wire.mode,
        algorithm=algorithm,
        inner_source=selector.local_prefix if selector else None,
        inner_destination=selector.remote_prefix if selector else None,
        anti_replay_window=wire.anti_replay_window_size,
    )


def _prefix(offer: SaOffer | _SaOffer) -> str:
    return f"pair{offer.pair}.{offer.generation}/"


def _sad_entry(offer: SaOffer, sa: AssociationPlan, material: bytes | None) -> _SadEntry:
    name = sa.name.removeprefix(_prefix(offer))
    if name == sa.name:
        raise CallerError(f"SA {sa.name} is not of pair {offer.pair}.{offer.generation}")
    if material is None:
        return _SadEntry(name, int(sa.spi))
    its = sa.algorithm.transform
    # Keying material in its own order: a salt belongs to the key, an integrity key follows it.
    encryption = material[: len(material) - its.integrity_key_bytes]
    integrity = material[len(encryption) :]
    return _SadEntry(
        name,
        int(sa.spi),
        _EspSa(_Key(encryption), _Key(integrity) if integrity else None),
    )


def _keys(wire: _SaOffer) -> PairKeys:
    agreement, entries = wire.key_agreement, (wire.inbound.esp_sa, wire.outbound.esp_sa)
    if agreement is not None and entries == (None, None):
        return KeyAgreement(
            agreement.own_public_key, agreement.peer_public_key, agreement.own_private_key
        )
    inbound, outbound = entries
    if agreement is not None or inbound is None or outbound is None:
        raise CallerError("keys of both associations, or an agreement on them")
    transform = _ALGORITHMS[wire.esp_algorithms].transform
    return GivenKeys(_material(inbound, transform), _material(outbound, transform))


def _material(wire: _EspSa, transform: Transform) -> bytes:
    integrity = b"" if wire.integrity is None else wire.integrity.key
    if len(integrity) != transform.integrity_key_bytes:
        raise CallerError("an integrity key of another algorithm")
    return wire.encryption.key + integrity
