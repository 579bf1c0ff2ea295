"""Illegal SAD and SPD entries cannot be built (mobivpn.ipsec)."""

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest

from mobivpn.errors import CallerError
from mobivpn.ipsec.minting import mint_pair, mint_spi
from mobivpn.ipsec.policy import EspTemplate, PolicyAction, Precedence, SecurityPolicy
from mobivpn.ipsec.sa import AhAlgorithm, AuthenticationAssociation, EspAlgorithm, Mode, Spi
from mobivpn.ipsec.selector import Direction, TrafficSelector, host

FIRST = IPv6Address("2001:db8:ee::d1")
SECOND = IPv6Address("2001:db8:ee::d2")
SELECTOR = TrafficSelector(host(FIRST), host(SECOND))


class Counter:
    """Bytes that are different at each call, as random ones are, but known."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, length: int) -> bytes:
        self.calls += 1
        return self.calls.to_bytes(length, "big")


def test_reserved_spis_are_refused():
    with pytest.raises(CallerError):
        Spi(255)
    with pytest.raises(CallerError):
        Spi(2**32)
    assert repr(Spi(256)) == "Spi(0x00000100)"


def test_a_minted_spi_skips_the_reserved_ones():
    values = iter([b"\0\0\0\x07", b"\0\0\x01\x00"])
    assert mint_spi(lambda _: next(values)) == 256


def test_the_two_directions_of_a_pair_share_nothing_but_the_reqid():
    inner = (IPv6Network("fd00:10::d1/128"), IPv6Network("fd00:10::d2/128"))
    random = Counter()
    pair = mint_pair(
        name="pair",
        reqid=1000,
        first=FIRST,
        second=SECOND,
        mode=Mode.TUNNEL,
        algorithm=EspAlgorithm.AES256GCM16,
        random_bytes=lambda length: random(length) if length > 4 else b"\x01\0\0" + random(1),
        inner=inner,
    )
    assert (pair.forward.source, pair.forward.destination) == (FIRST, SECOND)
    assert (pair.backward.source, pair.backward.destination) == (SECOND, FIRST)
    assert pair.forward.key != pair.backward.key
    assert pair.forward.spi != pair.backward.spi
    assert pair.forward.reqid == pair.backward.reqid
    assert (pair.backward.inner_source, pair.backward.inner_destination) == inner[::-1]


@pytest.mark.parametrize(
    ("mode", "expected"), [(Mode.TUNNEL, None), (Mode.TRANSPORT, IPv6Network((FIRST, 128)))]
)
def test_without_inner_prefixes_a_transport_association_carries_what_is_between_its_ends_only(
    mode: Mode, expected: IPv6Network | None
):
    pair = mint_pair("p", 1, FIRST, SECOND, mode, EspAlgorithm.AES128GCM16, lambda n: b"\x01" * n)
    assert pair.forward.inner_source == expected
    assert pair.backward.inner_destination == expected


def test_a_key_is_never_shown():
    pair = mint_pair(
        "p", 1, FIRST, SECOND, Mode.TRANSPORT, EspAlgorithm.AES128GCM16, lambda n: b"\xab" * n
    )
    assert repr(pair.forward.key) not in repr(pair)
    assert "key" not in repr(pair)


def test_keying_material_of_the_wrong_length_is_refused():
    pair = mint_pair(
        "p", 1, FIRST, SECOND, Mode.TRANSPORT, EspAlgorithm.AES128GCM16, lambda n: b"\x01" * n
    )
    with pytest.raises(CallerError, match="needs 20 bytes"):
        replace(pair.forward, key=b"short")


@pytest.mark.parametrize("window", [0, 4097])
def test_an_anti_replay_window_that_the_kernel_cannot_hold_is_refused(window: int):
    pair = mint_pair(
        "p", 1, FIRST, SECOND, Mode.TRANSPORT, EspAlgorithm.AES128GCM16, lambda n: b"\x01" * n
    )
    with pytest.raises(CallerError, match="anti-replay"):
        replace(pair.forward, anti_replay_window=window)


def test_only_protect_has_templates():
    template = EspTemplate(FIRST, SECOND, Mode.TUNNEL, 1)
    for action, templates in (
        (PolicyAction.PROTECT, ()),
        (PolicyAction.BYPASS, (template,)),
        (PolicyAction.DISCARD, (template,)),
    ):
        with pytest.raises(CallerError, match="PROTECT"):
            SecurityPolicy(
                "p", Direction.OUTBOUND, SELECTOR, action, Precedence.VPN, templates=templates
            )


def test_a_mobility_type_needs_the_mobility_header():
    with pytest.raises(CallerError, match="135"):
        TrafficSelector(host(FIRST), host(SECOND), 17, 5)


def test_an_icmp_type_needs_icmp():
    with pytest.raises(CallerError, match="58"):
        TrafficSelector(host(FIRST), host(SECOND), 17, icmp_type=134)


def test_a_key_of_the_wrong_length_is_refused_for_ah_as_well():
    with pytest.raises(CallerError, match="32 bytes, got 5"):
        AuthenticationAssociation(
            "a", 70, Spi(256), FIRST, SECOND, SELECTOR, AhAlgorithm.SHA256_128, b"short"
        )
