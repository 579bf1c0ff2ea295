"""Messages as JSON (mobivpn.signalling.codec)."""

import json
from base64 import b64decode, b64encode
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobivpn.errors import CallerError, MalformedError
from mobivpn.ipsec.keying import KeyAgreement, PairKeys
from mobivpn.ipsec.minting import mint_pair
from mobivpn.ipsec.sa import EspAlgorithm, Mode
from mobivpn.signalling import codec
from mobivpn.signalling.messages import (
    MAX_CORRESPONDENTS,
    MAX_SESSIONS,
    Acknowledge,
    BindingKeys,
    Envelope,
    Message,
    MoreCorrespondents,
    NodeAbsent,
    NodeExternal,
    NodeInternal,
    NodePresent,
    PairDropped,
    PairWithdrawn,
    PeerReady,
    Release,
    SaAccept,
    SaOffer,
    SaProposal,
    SaRefuse,
    SessionDetected,
    SessionIdle,
    Withdraw,
)
from tests.support.company import MN1, MN2, DifferentBytes
from tests.support.offers import given as keys_of
from tests.support.offers import minted, offer, planned

HOME, EXTERNAL = MN1.internal_home_address, MN1.external_home_address
PEER = MN2.internal_home_address

EVERY_KIND: list[Message] = [
    NodeExternal(HOME, EXTERNAL, 3),
    NodeExternal(HOME, EXTERNAL, 3, IPv6Address("2001:db8:1::d1"), (PEER,)),
    NodeExternal(HOME, EXTERNAL, 3, correspondents=(PEER,), in_session_with=(PEER,)),
    MoreCorrespondents(HOME, (PEER,)),
    NodeInternal(HOME),
    SessionDetected(HOME, PEER),
    PairWithdrawn(HOME, PEER),
    PairWithdrawn(HOME, PEER, idle=True),
    NodeAbsent(HOME),
    NodePresent(HOME),
    offer(),
    *(offer(sas=minted(algorithm=algorithm)) for algorithm in EspAlgorithm),
    offer(keys=KeyAgreement(bytes(32), bytes(range(32)))),
    offer(keys=KeyAgreement(bytes(32), bytes(range(32)), bytes(range(1, 33)))),
    SaProposal(tuple(EspAlgorithm)),
    SaProposal((EspAlgorithm.AES256_SHA256, EspAlgorithm.AES128GCM16), bytes(range(32))),
    offer(sas=minted(inner=None)),
    offer(binding_keys=BindingKeys(bytes(20), bytes(range(20)))),
    PeerReady(1, 2),
    Withdraw(1, "idle"),
    Release(1, 2),
    SessionIdle(1, 60),
    PairDropped(1, "expired"),
    Acknowledge(),
    SaAccept(1, 2),
    SaRefuse(1, 2, "EINVAL"),
]


def wire(message: Message) -> dict[str, Any]:
    return json.loads(codec.encode(Envelope(1, 7, message)))


def refusal(document: object) -> str:
    with pytest.raises(MalformedError) as error:
        codec.decode(json.dumps(document).encode())
    return error.value.reason


@pytest.mark.parametrize("message", EVERY_KIND, ids=lambda m: type(m).__name__)
def test_what_is_encoded_is_decoded(message: Message):
    envelope = Envelope(2**53, 7, message)
    assert codec.decode(codec.encode(envelope)) == envelope
    assert codec.decode_message(codec.encode_message(message)) == message


def test_a_message_reads_as_yang_json():
    assert wire(PeerReady(3, 1)) == {
        "epoch": 1,
        "number": 7,
        "mobivpn:peer-ready": {"pair": 3, "generation": 1},
    }


def test_an_offer_speaks_of_its_associations_in_the_words_of_rfc_9061():
    body = wire(offer())["mobivpn:sa-offer"]
    assert body["mode"] == "tunnel"
    assert body["tunnel"] == {"local": "2001:db8:ee::d1", "remote": "2001:db8:ee::d2"}
    assert body["traffic-selector"] == {
        "local-prefix": "fd00:10::d1/128",
        "remote-prefix": "fd00:10::d2/128",
    }
    assert body["esp-algorithms"] == {"encryption": {"algorithm-type": 20, "key-length": 256}}
    assert set(body["outbound"]["esp-sa"]) == {"encryption"}
    assert body["outbound"]["name"] == "forward"
    assert len(b64decode(body["outbound"]["esp-sa"]["encryption"]["key"])) == 32 + 4


def test_an_offer_of_two_algorithms_has_two_keys():
    sas = minted(algorithm=EspAlgorithm.AES128_SHA256)
    body = wire(offer(sas=sas))["mobivpn:sa-offer"]
    assert body["esp-algorithms"] == {
        "encryption": {"algorithm-type": 12, "key-length": 128},
        "integrity": 12,
    }
    assert body["outbound"]["esp-sa"] == {
        "encryption": {"key": b64encode(sas.forward.key[:16]).decode()},
        "integrity": {"key": b64encode(sas.forward.key[16:]).decode()},
    }


def test_an_offer_to_agree_on_keys_has_none_of_its_associations():
    body = wire(offer(keys=KeyAgreement(b"\1" * 32, b"\2" * 32)))["mobivpn:sa-offer"]
    assert "esp-sa" not in body["inbound"] | body["outbound"]
    assert set(body["key-agreement"]) == {"own-public-key", "peer-public-key"}


def test_what_is_not_said_is_not_sent():
    assert "care-of-address" not in wire(NodeExternal(HOME, EXTERNAL, 1))["mobivpn:node-external"]


ADDRESSES = st.integers(0, 2**128 - 1).map(IPv6Address)


@given(
    home=ADDRESSES,
    external=ADDRESSES,
    departure=st.integers(0, 2**53),
    care_of_address=st.none() | ADDRESSES,
    correspondents=st.lists(ADDRESSES, max_size=MAX_CORRESPONDENTS).map(tuple),
    sessions=st.lists(ADDRESSES, max_size=MAX_SESSIONS).map(tuple),
)
def test_every_notice_of_a_node_fits_and_comes_out_as_it_went_in(
    home: IPv6Address,
    external: IPv6Address,
    departure: int,
    care_of_address: IPv6Address | None,
    correspondents: tuple[IPv6Address, ...],
    sessions: tuple[IPv6Address, ...],
):
    sessions = tuple(peer for peer in sessions if peer != home)
    notice = NodeExternal(home, external, departure, care_of_address, correspondents, sessions)
    assert codec.decode(codec.encode(Envelope(1, 1, notice))).message == notice


@pytest.mark.parametrize(
    "change",
    [
        {"in-session-with": ["fd00:10::d1"]},
        {"in-session-with": ["fd00:10::2"] * (MAX_SESSIONS + 1)},
        {"in-session-with": "fd00:10::2"},
        {"in-session-with": [7]},
    ],
)
def test_a_notice_with_sessions_that_cannot_be_is_malformed(change: dict[str, Any]):
    document = wire(NodeExternal(HOME, EXTERNAL, 3))
    document["mobivpn:node-external"] |= change
    assert refusal(document) == "bad-value"


@pytest.mark.parametrize("idle", [1, "true", None])
def test_a_withdrawn_pair_was_idle_or_not(idle: object):
    document = wire(PairWithdrawn(HOME, PEER))
    document["mobivpn:pair-withdrawn"]["idle"] = idle
    assert refusal(document) == "bad-value"


def longest(last: str) -> IPv6Address:
    return IPv6Address(f"2001:db8:1234:5678:9abc:def0:1234:567{last}")


def test_the_longest_messages_fit_a_packet_that_is_never_fragmented():
    first, second = longest("1"), longest("2")
    sas = mint_pair(
        f"pair{2**53}.{2**53}",
        2**32 - 1,
        first,
        second,
        Mode.TUNNEL,
        EspAlgorithm.AES256_SHA256,
        DifferentBytes(),
        (IPv6Network((first, 128)), IPv6Network((second, 128))),
    )
    most, plan = 2**53, planned(sas)
    crowd = tuple(longest(f"{i % 10}") for i in range(MAX_CORRESPONDENTS))

    def long_offer(keys: PairKeys) -> SaOffer:
        offer = SaOffer(most, most, second, second, plan.backward, plan.forward, keys, most)
        return replace(offer, binding_keys=BindingKeys(bytes(20), bytes(20)))

    for message in (
        long_offer(keys_of(sas)[0]),
        long_offer(KeyAgreement(bytes(32), bytes(32), bytes(32))),
        NodeExternal(first, second, most, first, crowd, (second,) * MAX_SESSIONS),
        SaProposal(tuple(EspAlgorithm), bytes(32)),
    ):
        assert len(codec.encode(Envelope(most, most, message))) <= codec.MAX_DATAGRAM_BYTES


def test_an_association_of_another_pair_is_the_callers_fault():
    with pytest.raises(CallerError, match=r"pair1\.2/backward is not of pair 1\.1"):
        codec.encode(Envelope(1, 1, offer(1, sas=minted(2))))


def test_a_message_that_would_not_fit_is_the_callers_fault():
    with pytest.raises(CallerError):
        codec.encode(Envelope(1, 1, Withdraw(1, "x" * codec.MAX_DATAGRAM_BYTES)))


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff\xfe", b"{", b'"epoch"', b"[" * 100_000])
def test_what_is_not_a_json_object_is_malformed(data: bytes):
    with pytest.raises(MalformedError) as error:
        codec.decode(data)
    assert error.value.reason == "not-json"


def test_an_envelope_names_its_request():
    assert refusal({"epoch": 1, "mobivpn:acknowledge": {}}) == "bad-value"
    assert refusal({"epoch": 1, "number": -1, "mobivpn:acknowledge": {}}) == "bad-value"
    assert refusal({"epoch": 1, "number": 2**60, "mobivpn:acknowledge": {}}) == "bad-value"


def test_an_envelope_holds_one_message():
    assert refusal({"epoch": 1, "number": 1}) == "not-one-message"
    two = {"mobivpn:acknowledge": {}, "mobivpn:peer-ready": {"pair": 1, "generation": 1}}
    assert refusal({"epoch": 1, "number": 1, **two}) == "not-one-message"
    assert refusal({"epoch": 1, "number": 1, "mobivpn:gossip": {}}) == "unknown-message"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"pair": None}, "bad-value"),
        ({"pair": "3"}, "bad-value"),
        ({"pair": True}, "bad-value"),
        ({"colour": "blue"}, "unknown-field"),
    ],
)
def test_a_message_has_its_fields_and_no_others(change: dict[str, object], reason: str):
    document = wire(PeerReady(3, 1))
    document["mobivpn:peer-ready"].update(change)
    assert refusal(document) == reason


def test_a_field_that_must_be_there_is_missed():
    document = wire(PeerReady(3, 1))
    del document["mobivpn:peer-ready"]["pair"]
    assert refusal(document) == "missing-field"


@pytest.mark.parametrize("text", ["fd00:10::D1", "fd00:10:0::d1", "10.0.0.1", "mn1", 7])
def test_an_address_is_taken_in_its_canonical_form_only(text: object):
    document = wire(NodeInternal(HOME))
    document["mobivpn:node-internal"]["internal-home-address"] = text
    assert refusal(document) == "bad-value"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["outbound", "spi"], 7),
        (["inbound", "spi"], 2**32),
        (["outbound", "esp-sa", "encryption", "key"], "AAAA"),
        (["inbound", "esp-sa", "encryption", "key"], "AAAA"),
        (["esp-algorithms", "encryption", "algorithm-type"], 21),
        (["esp-algorithms", "encryption", "key-length"], 192),
        (["esp-algorithms", "integrity"], 12),
        (["inbound", "esp-sa", "integrity"], {"key": "AAAA"}),
        (["inbound", "esp-sa"], None),
        (["outbound", "esp-sa"], None),
        (["key-agreement"], {"own-public-key": "", "peer-public-key": ""}),
        (["anti-replay-window-size"], 0),
        (["lifetime-s"], 0),
    ],
)
def test_associations_that_cannot_be_are_refused(path: list[str], value: object):
    document = wire(offer())
    place = document["mobivpn:sa-offer"]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    assert refusal(document) == "bad-association"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["mode"], "beet"),
        (["ext-seq-num"], False),
        (["reqid"], 2**32),
        (["tunnel"], {"local": "fd00::1"}),
        (["inbound", "esp-sa", "encryption", "key"], "no secret"),
        (["esp-algorithms", "encryption"], 20),
        (["esp-algorithms", "colour"], "blue"),
        (["outbound", "esp-sa", "encryption", "colour"], "blue"),
        (["outbound", "colour"], "blue"),
    ],
)
def test_offers_of_another_shape_are_refused(path: list[str], value: object):
    document = wire(offer())
    place = document["mobivpn:sa-offer"]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    assert refusal(document) == "bad-value"


@pytest.mark.parametrize("name", ["own-public-key", "peer-public-key", "own-private-key"])
@pytest.mark.parametrize(
    ("key", "reason"),
    [("", "bad-association"), ("AAAA", "bad-association"), ("*", "bad-value"), (5, "bad-value")],
)
def test_keys_to_agree_by_that_cannot_be_are_refused(name: str, key: object, reason: str):
    document = wire(offer(keys=KeyAgreement(bytes(32), bytes(32))))
    document["mobivpn:sa-offer"]["key-agreement"][name] = key
    assert refusal(document) == reason


def test_an_offer_with_keys_and_an_agreement_is_refused():
    document = wire(offer())
    agreement = wire(offer(keys=KeyAgreement(bytes(32), bytes(32))))
    document["mobivpn:sa-offer"]["key-agreement"] = agreement["mobivpn:sa-offer"]["key-agreement"]
    assert refusal(document) == "bad-association"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("algorithms", []),
        ("algorithms", ["aes256gcm16", "aes256gcm16"]),
        ("algorithms", ["des"]),
        ("algorithms", "aes256gcm16"),
        ("public-key", ""),
        ("public-key", "AAAA"),
        ("public-key", 7),
    ],
)
def test_a_proposal_that_cannot_be_is_refused(field: str, value: object):
    document = wire(SaProposal(tuple(EspAlgorithm), bytes(32)))
    document["mobivpn:sa-proposal"][field] = value
    assert refusal(document) == "bad-value"


@pytest.mark.parametrize(
    ("key", "reason"),
    [("", "bad-association"), ("AAAA", "bad-association"), ("*", "bad-value"), (5, "bad-value")],
)
def test_binding_keys_that_cannot_be_are_refused(key: object, reason: str):
    document = wire(offer(binding_keys=BindingKeys(bytes(20), bytes(20))))
    document["mobivpn:sa-offer"]["binding-keys"]["inbound"] = key
    assert refusal(document) == reason


def test_a_refusal_does_not_quote_the_secret():
    document = wire(offer())
    secret = "ABCDEFGHIJK*"
    document["mobivpn:sa-offer"]["inbound"]["esp-sa"]["encryption"]["key"] = secret
    with pytest.raises(MalformedError) as error:
        codec.decode(json.dumps(document).encode())
    assert secret not in str(error.value)


def test_only_addresses_need_help_to_become_text():
    with pytest.raises(NotImplementedError):
        codec.encode_message(Withdraw(1, object()))  # type: ignore[arg-type]


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_malformed(data: bytes):
    with pytest.raises(MalformedError):
        codec.decode(data)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda c: st.lists(c, max_size=3) | st.dictionaries(st.text(max_size=8), c, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(["node-external", "sa-offer", "sa-proposal", "withdraw", "acknowledge"]),
)
def test_no_json_does_more_than_be_malformed(body: object, name: str):
    document = {"epoch": 1, "number": 1, f"mobivpn:{name}": body}
    try:
        codec.decode(json.dumps(document).encode())
    except MalformedError:
        return
    assert (name, body) == ("acknowledge", {})
