"""What a node brings along to its pairs (mobivpn.host.keyring)."""

import pytest

from mobivpn.errors import PeerError
from mobivpn.host.keyring import RETIRED_S, Keyring
from mobivpn.ipsec.key_agreement import KeyPair
from mobivpn.ipsec.keying import KeyAgreement
from mobivpn.ipsec.sa import EspAlgorithm
from mobivpn.signalling.messages import SaOffer, SaProposal
from tests.support.company import DifferentBytes
from tests.support.offers import minted, offer

PEER = KeyPair.fresh(lambda length: b"\7" * length)


def own_keys() -> Keyring:
    return Keyring(own_keys=DifferentBytes())


def agreed(public_key: bytes | None, private_key: bytes | None = None) -> SaOffer:
    assert public_key is not None
    return offer(keys=KeyAgreement(public_key, PEER.public_key, private_key))


def test_a_proposal_names_the_algorithms_in_the_nodes_order():
    order = (EspAlgorithm.CHACHA20POLY1305, EspAlgorithm.AES256GCM16)
    assert Keyring(order).proposal(0.0) == SaProposal(order)


def test_given_keys_are_taken_as_they_are():
    sas = minted()
    assert Keyring().associations(offer(sas=sas)) == (sas.backward, sas.forward)


def test_an_offer_of_an_algorithm_that_was_not_proposed_is_refused():
    with pytest.raises(PeerError, match="algorithm not proposed"):
        Keyring([EspAlgorithm.AES128GCM16]).associations(offer())


def test_a_private_key_that_comes_along_is_used():
    own = KeyPair.fresh(lambda length: b"\5" * length)
    inbound, outbound = Keyring().associations(agreed(own.public_key, own.private_key))
    assert inbound.key != outbound.key


def test_without_a_private_key_nothing_can_be_derived():
    with pytest.raises(PeerError, match="no private key"):
        Keyring().associations(agreed(PEER.public_key))


def test_a_node_with_keys_of_its_own_takes_no_secret_of_anybody_else():
    keyring = own_keys()
    keyring.proposal(0.0)
    with pytest.raises(PeerError, match="somebody else's keys"):
        keyring.associations(offer())
    with pytest.raises(PeerError, match="no private key"):
        keyring.associations(agreed(PEER.public_key, PEER.private_key))


def test_each_proposal_has_a_fresh_key_and_the_former_is_forgotten_a_while_later():
    keyring = own_keys()
    former, newest = keyring.proposal(0.0), keyring.proposal(5.0)
    assert former.public_key != newest.public_key
    assert keyring.deadline == 5.0 + RETIRED_S
    keyring.timer_expired(5.0 + RETIRED_S - 1)
    inbound, outbound = keyring.associations(agreed(former.public_key))
    assert inbound.key != outbound.key
    keyring.timer_expired(5.0 + RETIRED_S)
    with pytest.raises(PeerError, match="no private key"):
        keyring.associations(agreed(former.public_key))
    inbound, outbound = keyring.associations(agreed(newest.public_key))
    assert inbound.key != outbound.key
    assert keyring.deadline is None


def test_a_key_pair_is_used_up_by_an_offer_that_uses_the_newest():
    keyring = own_keys()
    former, newest = keyring.proposal(0.0), keyring.proposal(1.0)
    assert not keyring.is_used_up(agreed(former.public_key))
    assert keyring.is_used_up(agreed(newest.public_key))
    assert not keyring.is_used_up(offer())
    assert not Keyring().is_used_up(agreed(PEER.public_key))
