"""A mobile node's end of the VCM's protocol (mobivpn.host.sa_endpoint)."""

from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from mobivpn.errors import IllegalTransition
from mobivpn.host.effects import Record
from mobivpn.host.keyring import RETIRED_S, Keyring
from mobivpn.host.plan import NodeIdentity
from mobivpn.host.sa_endpoint import (
    EXPIRY_GRACE_S,
    GRACE_S,
    REMEMBERED,
    TRANSITIONS,
    Effect,
    Input,
    PairEnded,
    PairSwitched,
    Phase,
    SaEndpoint,
    Settle,
)
from mobivpn.ipsec.key_agreement import KeyPair
from mobivpn.ipsec.keying import KeyAgreement
from mobivpn.ipsec.minting import SaPair
from mobivpn.ipsec.sa import EspAlgorithm
from mobivpn.signalling import codec
from mobivpn.signalling.endpoint import SignallingEndpoint
from mobivpn.signalling.exchange import SendSignal
from mobivpn.signalling.messages import (
    Acknowledge,
    BindingKeys,
    Envelope,
    Message,
    NodeAbsent,
    PairDropped,
    PeerReady,
    Release,
    Request,
    SaAccept,
    SaProposal,
    SaRefuse,
    SessionIdle,
    Withdraw,
)
from tests.support.company import COMPANY, MN1, MN2, MN3, DifferentBytes
from tests.support.offers import minted, offer

VCM = COMPANY.vcm
REFUSED = "Invalid argument"
PROPOSAL = SaProposal(tuple(EspAlgorithm))


class Node:
    """MN1's endpoint, what the VCM has sent it, and a kernel that is asked to settle."""

    def __init__(self, *, outside: bool = True, keyring: Keyring | None = None) -> None:
        self.core = SaEndpoint(MN1, COMPANY, SignallingEndpoint(7, [VCM]), keyring)
        self.number = 0
        self.effects: list[Effect] = []
        if outside:
            self.proposed = self.took(self.core.went_outside(0.0))
            # Else it would come again and again.
            self.vcm_has(1)

    def vcm_has(self, number: int) -> None:
        """Let the VCM acknowledge one of the node's requests."""
        self.core.datagram_received(VCM, codec.encode(Envelope(7, number, Acknowledge())), 0.0)

    def hears(self, message: Request, now: float = 0.0) -> list[Message]:
        self.number += 1
        return self.again(message, self.number, now)

    def again(self, message: Request, number: int, now: float = 0.0) -> list[Message]:
        payload = codec.encode(Envelope(1, number, message))
        return self.took(self.core.datagram_received(VCM, payload, now))

    def kernel_obeys(self, refused: str | None = None, now: float = 0.0) -> list[Message]:
        """Let the kernel carry out what the last effects asked for."""
        said: list[Message] = []
        for token in self.asked:
            said += self.took(self.core.applied(token, refused, now))
        return said

    def waits_until(self, now: float) -> list[Message]:
        said: list[Message] = []
        while self.core.deadline is not None and self.core.deadline <= now:
            said += self.took(self.core.timer_expired(self.core.deadline))
        return said

    def took(self, effects: list[Effect]) -> list[Message]:
        self.effects = effects
        return [codec.decode(e.payload).message for e in effects if isinstance(e, SendSignal)]

    @property
    def asked(self) -> list[str]:
        return [e.token for e in self.effects if isinstance(e, Settle) and e.token is not None]

    @property
    def events(self) -> list[str]:
        return [e.event for e in self.effects if isinstance(e, Record)]

    def holds(self, sas: SaPair) -> bool:
        """Tell whether the kernel is to hold both associations of a pair."""
        held = [sa for pair in self.core.pairs for sa in pair.associations]
        return sas.forward in held and sas.backward in held

    @property
    def outbound(self) -> str | None:
        (pair,) = self.core.pairs
        return pair.outbound.name if pair.outbound is not None else None

    def accepts(self, sas: SaPair, generation: int = 1, pair: int = 1, now: float = 0.0) -> None:
        self.hears(offer(generation, pair, sas=sas), now)
        self.kernel_obeys()

    def switches(self, generation: int = 1, pair: int = 1) -> None:
        self.hears(PeerReady(pair, generation))
        self.kernel_obeys()


def accepting() -> Node:
    node = Node()
    node.accepts(minted(1))
    return node


def protected() -> Node:
    node = accepting()
    node.switches()
    return node


def back() -> Node:
    node = protected()
    node.hears(Withdraw(1, "idle"))
    node.kernel_obeys()
    return node


def refusal(said: list[Message]) -> str:
    (answer,) = said
    assert isinstance(answer, SaRefuse)
    return answer.reason


def test_a_node_that_has_left_proposes_what_it_can_do_until_the_vcm_has_it():
    node = Node(outside=False)
    # mn1 -- SaProposal --> vcm
    assert node.took(node.core.went_outside(0.0)) == [PROPOSAL]
    assert node.waits_until(0.5) == [PROPOSAL]
    node.vcm_has(1)
    assert node.core.deadline is None


def test_an_offer_of_what_was_not_proposed_is_refused_and_leaves_nothing_behind():
    node = Node(keyring=Keyring([EspAlgorithm.AES128GCM16]))
    assert refusal(node.hears(offer())) == "algorithm not proposed"
    assert node.core.pairs == ()
    assert node.core.deadline is None


def test_a_key_pair_serves_one_set_up_and_the_next_is_proposed_when_that_is_protected():
    node = Node(keyring=Keyring(own_keys=DifferentBytes()))
    (proposed,) = node.proposed
    assert isinstance(proposed, SaProposal)
    assert proposed.public_key is not None
    peer = KeyPair.fresh(lambda length: b"\7" * length)
    agreement = KeyAgreement(proposed.public_key, peer.public_key)
    node.hears(offer(keys=agreement))
    assert node.kernel_obeys() == [SaAccept(1, 1)]
    node.hears(PeerReady(1, 1))
    # mn1 -- Acknowledge, SaProposal --> vcm
    acknowledgement, next_one = node.kernel_obeys()
    assert acknowledgement == Acknowledge()
    assert isinstance(next_one, SaProposal)
    assert next_one.public_key not in (None, proposed.public_key)
    node.vcm_has(2)
    node.waits_until(RETIRED_S)
    assert refusal(node.hears(offer(2, keys=agreement))) == "no private key for that"
    # What has been agreed on stays.
    assert node.outbound == "pair1.1/forward"


def test_an_offer_is_accepted_only_when_the_kernel_can_decrypt():
    node, sas = Node(), minted(1)
    # mn1 <-- SaOffer (210) -- vcm
    assert node.hears(offer(sas=sas)) == []
    assert node.asked == ["installed/1/1"]
    assert node.holds(sas)
    # mn1 -- SaAccept (212) --> vcm
    assert node.kernel_obeys() == [SaAccept(1, 1)]
    assert node.outbound is None


def test_outbound_switches_only_after_the_peers_acceptance():
    node = accepting()
    assert node.outbound is None
    # mn1 <-- PeerReady (208) -- vcm
    assert node.hears(PeerReady(1, 1)) == []
    assert node.outbound == "pair1.1/forward"
    # mn1 -- Acknowledge --> vcm
    assert node.kernel_obeys() == [Acknowledge()]
    assert node.events == ["outbound_switched"]
    assert node.effects[-1] == PairSwitched(MN2)


def test_binding_keys_of_all_generations_count_for_the_peer_and_the_newest_for_the_node():
    node = Node()
    assert node.core.binding_keys_of(MN2) == ()
    keys = [BindingKeys(bytes([i]) * 20, bytes([16 + i]) * 20) for i in (1, 2)]
    for generation, given in enumerate(keys, start=1):
        node.hears(offer(generation, binding_keys=given))
        node.kernel_obeys()
        node.switches(generation)
        assert node.effects[-1] == PairSwitched(MN2, given.outbound)
    assert node.core.binding_keys_of(MN2) == (keys[0].inbound, keys[1].inbound)
    assert node.core.binding_keys_of(MN3) == ()
    node.hears(Release(1, 1))
    node.waits_until(60)
    assert node.core.binding_keys_of(MN2) == (keys[1].inbound,)


def test_the_peers_acceptance_may_come_before_the_kernel_is_done():
    node = Node()
    node.hears(offer())
    (installing,) = node.asked
    assert node.hears(PeerReady(1, 1)) == []
    assert node.outbound is None
    assert node.took(node.core.applied(installing, None, 0.0)) == [SaAccept(1, 1)]
    assert node.outbound is not None
    assert node.kernel_obeys() == [Acknowledge()]


def test_the_peers_acceptance_may_come_before_the_offer():
    node = Node()
    assert node.hears(PeerReady(1, 1)) == []
    node.hears(offer())
    assert node.outbound is None
    assert node.kernel_obeys() == [SaAccept(1, 1)]
    assert node.kernel_obeys() == [Acknowledge()]


def test_early_acceptances_are_not_collected_without_end():
    node = Node()
    for pair in range(1, REMEMBERED + 2):
        node.hears(PeerReady(pair, 1))
    node.accepts(minted(1))
    assert node.outbound is None
    node.accepts(minted(1, pair=2), pair=2)
    assert node.outbound == "pair2.1/forward"


def test_a_duplicate_offer_is_answered_again_and_changes_nothing():
    node, given = Node(), offer()
    node.hears(given)
    said = node.kernel_obeys()
    assert node.again(given, number=1) == said
    assert node.asked == []


@pytest.mark.parametrize(
    "change",
    [
        {"peer_internal_home_address": IPv6Address("fd00:10::16")},
        {"peer_internal_home_address": MN1.internal_home_address},
        {"peer_external_home_address": MN3.external_home_address},
    ],
)
def test_a_peer_that_is_none_is_refused(change: dict[str, IPv6Address]):
    assert refusal(Node().hears(replace(offer(), **change))) == "unknown peer"  # type: ignore[arg-type]


def test_a_node_inside_refuses():
    node = Node(outside=False)
    assert refusal(node.hears(offer())) == "inside"
    assert refusal(node.hears(PeerReady(1, 1))) == "over"


@pytest.mark.parametrize(("pair", "generation"), [(2, 1), (2, 2), (1, 9)])
def test_an_offer_that_was_overtaken_is_refused(pair: int, generation: int):
    node = Node()
    node.accepts(minted(2, pair=2), generation=2, pair=2)
    assert refusal(node.hears(offer(generation, pair))) == "overtaken by a newer one"


def test_a_pair_does_not_change_its_peer():
    node = accepting()
    other = replace(
        offer(generation=2),
        peer_internal_home_address=MN3.internal_home_address,
        peer_external_home_address=MN3.external_home_address,
    )
    assert refusal(node.hears(other)) == "overtaken by a newer one"


def test_a_kernel_that_refuses_to_decrypt_makes_the_node_refuse():
    node = Node()
    node.hears(offer())
    assert refusal(node.kernel_obeys(REFUSED)) == REFUSED
    assert node.core.pairs == ()


def test_a_renewal_that_the_kernel_refuses_leaves_the_pair_as_it_was():
    node = protected()
    node.hears(offer(generation=2))
    assert refusal(node.kernel_obeys(REFUSED)) == REFUSED
    assert node.outbound == "pair1.1/forward"


def test_a_kernel_that_refuses_to_encrypt_leaves_traffic_on_the_gateway():
    node = accepting()
    node.hears(PeerReady(1, 1))
    assert refusal(node.kernel_obeys(REFUSED)) == REFUSED
    assert node.outbound is None
    assert node.hears(Withdraw(1, "refused")) == []
    assert node.kernel_obeys() == [Acknowledge()]


def test_a_renewal_switches_from_one_generation_to_the_next_and_keeps_accepting_the_old():
    first, second = minted(1), minted(2)
    node = Node()
    node.accepts(first)
    node.switches()
    node.accepts(second, generation=2)
    assert node.outbound == "pair1.1/forward"
    node.switches(generation=2)
    assert node.outbound == "pair1.2/forward"
    assert node.holds(first)
    # mn1 <-- Release -- vcm
    assert node.hears(Release(1, 1), now=10.0) == [Acknowledge()]
    node.waits_until(10.0 + GRACE_S)
    assert not node.holds(first)
    assert node.holds(second)
    assert node.outbound == "pair1.2/forward"


def test_the_order_back_ends_encryption_first():
    sas = minted(1)
    node = Node()
    node.accepts(sas)
    node.switches()
    # mn1 <-- Withdraw -- vcm
    assert node.hears(Withdraw(1, "idle")) == []
    assert node.events == ["ordered_back"]
    assert node.outbound is None
    assert node.holds(sas)
    # mn1 -- Acknowledge --> vcm
    assert node.kernel_obeys() == [Acknowledge()]
    assert node.effects[-1] == PairEnded(MN2)
    assert node.holds(sas)


def test_decryption_ends_a_while_after_the_release():
    node = back()
    node.hears(Release(1, 1), now=10.0)
    assert node.core.deadline == 10.0 + GRACE_S
    assert len(node.core.pairs) == 1
    node.waits_until(10.0 + GRACE_S)
    assert node.core.pairs == ()
    assert node.core.deadline is None


def test_a_release_of_what_is_not_there_is_acknowledged():
    assert Node().hears(Release(1, 1)) == [Acknowledge()]
    node = protected()
    node.accepts(minted(2), generation=2)
    node.hears(Release(1, 1))
    node.waits_until(GRACE_S)
    assert len(node.core.pairs[0].associations) == 2


def test_an_order_back_that_the_kernel_refuses_is_not_acknowledged():
    node = protected()
    node.hears(Withdraw(1, "idle"))
    assert node.kernel_obeys(REFUSED) == []


def test_an_order_back_that_overtakes_its_offer_is_obeyed_by_refusing_the_offer():
    node = Node()
    node.hears(PeerReady(1, 1))
    node.hears(PeerReady(2, 1))
    assert node.hears(Withdraw(1, "no answer")) == [Acknowledge()]
    assert refusal(node.hears(offer())) == "overtaken by a newer one"
    assert refusal(node.hears(PeerReady(1, 1))) == "over"


@pytest.mark.parametrize("refused", [None, REFUSED])
def test_an_order_back_during_installation_stands_whatever_the_kernel_says(refused: str | None):
    node = Node()
    node.hears(offer())
    (installing,) = node.asked
    node.hears(Withdraw(1, "a node returned"))
    (leaving,) = node.asked
    assert node.took(node.core.applied(installing, refused, 0.0)) == []
    assert node.took(node.core.applied(leaving, None, 0.0)) == [Acknowledge()]


@pytest.mark.parametrize("refused", [None, REFUSED])
def test_an_order_back_during_the_switch_stands_whatever_the_kernel_says(refused: str | None):
    node = accepting()
    node.hears(PeerReady(1, 1))
    (switching,) = node.asked
    node.hears(Withdraw(1, "a node returned"))
    assert node.outbound is None
    node.core.applied(switching, refused, 0.0)
    assert not any(isinstance(effect, PairSwitched) for effect in node.effects)
    assert node.outbound is None


def test_a_peer_that_becomes_ready_too_late_is_not_switched_to():
    node = protected()
    node.hears(Withdraw(1, "idle"))
    assert refusal(node.hears(PeerReady(1, 1))) == "leaving"
    assert refusal(node.hears(offer(generation=2))) == "overtaken by a newer one"


def test_the_next_pair_may_begin_while_its_predecessor_drains():
    old, new = minted(1), minted(1, pair=2)
    node = Node()
    node.accepts(old)
    node.switches()
    node.hears(Withdraw(1, "idle"))
    node.kernel_obeys()
    node.hears(Release(1, 1))
    node.accepts(new, pair=2)
    node.switches(pair=2)
    (pair,) = node.core.pairs
    assert len(pair.associations) == 4
    assert node.outbound == "pair2.1/forward"
    node.took(node.core.timer_expired(GRACE_S))
    assert PairEnded(MN2) not in node.effects
    assert node.holds(new)
    assert not node.holds(old)


def test_pairs_with_different_peers_do_not_meddle():
    node = protected()
    other = replace(
        offer(pair=2),
        peer_internal_home_address=MN3.internal_home_address,
        peer_external_home_address=MN3.external_home_address,
    )
    node.hears(other)
    node.kernel_obeys()
    peers: list[NodeIdentity] = [pair.peer for pair in node.core.pairs]
    assert peers == [MN2, MN3]
    node.hears(Withdraw(2, "idle"))
    assert [pair.outbound is not None for pair in node.core.pairs] == [True, False]


def test_a_node_that_is_home_has_no_pairs():
    node = protected()
    node.took(node.core.came_inside())
    assert node.core.pairs == ()
    assert PairEnded(MN2) in node.effects
    assert node.core.deadline is None


def test_what_the_vcm_waits_for_is_answered_when_the_node_comes_home():
    node = Node()
    node.hears(offer())
    assert node.took(node.core.came_inside()) == [SaRefuse(1, 1, "inside")]
    node = protected()
    node.hears(Withdraw(1, "idle"))
    (leaving,) = node.asked
    assert node.took(node.core.came_inside()) == [Acknowledge()]
    assert node.core.applied(leaving, None, 0.0) == []


def test_the_vcm_hears_of_pairs_that_ended_in_an_absence_nobody_noticed():
    node = protected()
    node.core.came_inside()
    # mn1 -- PairDropped --> vcm
    assert node.took(node.core.went_outside(5.0)) == [PROPOSAL, PairDropped(1, "inside")]
    assert node.core.deadline == 5.5
    assert node.took(node.core.went_outside(6.0)) == [PROPOSAL]


def test_a_pair_that_nobody_renews_ends_sending_before_accepting():
    node = protected()
    said = node.waits_until(3600)
    assert said == [PairDropped(1, "expired")]
    assert node.outbound is None
    assert len(node.core.pairs[0].associations) == 2
    node.kernel_obeys()
    node.waits_until(3600 + EXPIRY_GRACE_S)
    assert node.core.pairs == ()


def test_an_expired_pair_can_still_be_ordered_back():
    node = protected()
    node.waits_until(3600)
    (first,) = node.asked
    assert node.hears(Withdraw(1, "dropped by a node"), now=3600.1) == []
    (second,) = node.asked
    assert node.took(node.core.applied(first, None, 3600.1)) == [Acknowledge()]
    assert node.took(node.core.applied(second, None, 3600.1)) == []


def test_a_renewed_pair_lives_as_long_as_its_newest_generation():
    node = protected()
    node.accepts(minted(2), generation=2, now=3000.0)
    node.waits_until(3700)
    assert node.outbound == "pair1.1/forward"


def test_an_idle_pair_is_reported_once():
    node = protected()
    # mn1 -- SessionIdle --> vcm
    idle = node.core.pair_idle(MN2.internal_home_address, 60.5, 100.0)
    assert node.took(idle) == [SessionIdle(1, 60)]
    assert node.events == ["session_idle"]
    assert node.core.pair_idle(MN2.internal_home_address, 61, 101.0) == []


def test_only_a_pair_in_use_can_be_idle():
    assert Node().core.pair_idle(MN2.internal_home_address, 60, 0.0) == []
    assert accepting().core.pair_idle(MN2.internal_home_address, 60, 0.0) == []
    assert protected().core.pair_idle(MN3.internal_home_address, 60, 0.0) == []


def test_what_the_kernel_says_of_a_generation_that_is_gone_is_ignored():
    node = protected()
    assert node.core.applied("installed/9/1", None, 0.0) == []
    assert node.core.applied("installed/1/9", None, 0.0) == []


def test_what_is_not_meant_for_a_node_is_ignored():
    node = Node()
    assert node.hears(NodeAbsent(MN2.internal_home_address)) == [Acknowledge()]
    stranger = IPv6Address("2001:db8::bad")
    assert node.core.datagram_received(stranger, b"", 0.0) == []


def test_an_outcome_that_nobody_asked_for_is_an_error():
    with pytest.raises(IllegalTransition):
        accepting().core.applied("switched/1/1", None, 0.0)


def test_from_an_end_there_is_no_way_back_to_encrypting():
    over = {Phase.LEAVING, Phase.DRAINING}
    assert all(after in over for (phase, _), after in TRANSITIONS.items() if phase in over)


def test_nothing_encrypts_without_a_ready_peer():
    ways = {key for key, after in TRANSITIONS.items() if after is Phase.SWITCHING}
    assert ways == {(Phase.ACCEPTING, Input.PEER_READY)}


def test_no_secret_is_in_the_effects():
    node, sas = Node(), minted(1)
    shown = ""
    for message in (offer(sas=sas), PeerReady(1, 1), Withdraw(1, "idle")):
        node.hears(message)
        shown += repr(node.effects) + repr(node.core.pairs)
        node.kernel_obeys()
    for sa in (sas.forward, sas.backward):
        assert repr(sa.key) not in shown
