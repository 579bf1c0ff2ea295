"""The VPN connectivity manager (mobivpn.vcm.manager)."""

from collections.abc import Callable, Mapping
from ipaddress import IPv6Address

import pytest

from mobivpn.errors import CallerError
from mobivpn.host.effects import Record
from mobivpn.host.plan import Company, NodeIdentity
from mobivpn.ipsec.keying import GivenKeys, KeyAgreement
from mobivpn.ipsec.sa import EspAlgorithm
from mobivpn.signalling import codec
from mobivpn.signalling.exchange import SendSignal
from mobivpn.signalling.messages import (
    Acknowledge,
    Answer,
    BindingKeys,
    Envelope,
    Message,
    MoreCorrespondents,
    NodeExternal,
    NodeInternal,
    PairDropped,
    PairWithdrawn,
    PeerReady,
    Release,
    Request,
    SaAccept,
    SaOffer,
    SaProposal,
    SaRefuse,
    SessionDetected,
    SessionIdle,
    Withdraw,
)
from mobivpn.variants import BestPath, KeyScheme
from mobivpn.vcm.context import RemoveContext, StoreContext
from mobivpn.vcm.manager import EXPIRY_MARGIN_S, PATIENCE_S, RENEWAL, Effect, Manager
from tests.support.company import COMPANY, MN1, MN2, MN3, PUBLIC_COMPANY, DifferentBytes

SG = COMPANY.security_gateway_inside
A, B = MN1.internal_home_address, MN2.internal_home_address
FILE_SERVER = IPv6Address("fd00:10::16")
STRANGER = IPv6Address("2001:db8::bad")
LIFETIME_S, HOLD_DOWN_S = 100, 5.0
PROPOSALS = {
    node.internal_home_address: SaProposal(tuple(EspAlgorithm), bytes([number]) * 32)
    for number, node in enumerate(COMPANY.nodes, start=1)
}
ONLY_GCM = SaProposal((EspAlgorithm.AES128GCM16, EspAlgorithm.AES256GCM16), b"\7" * 32)
ONLY_CBC = SaProposal((EspAlgorithm.AES256_SHA256,), b"\10" * 32)


class Vcm:
    """A manager and, for each peer, the numbers of what has been said."""

    def __init__(
        self,
        *,
        binding_keys: bool = False,
        keys: KeyScheme = KeyScheme.SEPARATE,
        best_path: BestPath = BestPath.DIRECT,
        proposals: Mapping[IPv6Address, SaProposal] = PROPOSALS,
        company: Company = COMPANY,
    ) -> None:
        self.core = Manager(
            epoch=7,
            security_gateway=SG,
            nodes=[node.internal_home_address for node in company.nodes],
            random_bytes=DifferentBytes(),
            lifetime_s=LIFETIME_S,
            hold_down_s=HOLD_DOWN_S,
            binding_keys=binding_keys,
            keys=keys,
            best_path=best_path,
        )
        self.now = 0.0
        self.effects: list[Effect] = []
        self.number = 0
        self.open: list[tuple[IPv6Address, Envelope]] = []
        for node, proposal in proposals.items():
            self.hears(node, proposal)

    def hears(self, source: IPv6Address, message: Request) -> list[tuple[IPv6Address, Message]]:
        """Let a peer say something; return what the VCM says to whom."""
        self.number += 1
        payload = codec.encode(Envelope(1, self.number, message))
        return self.took(self.core.datagram_received(source, payload, self.now))

    def is_answered(
        self, source: IPv6Address, request: type[Request], answer: Answer
    ) -> list[tuple[IPv6Address, Message]]:
        """Let a peer answer the oldest open request of a kind."""
        asked = next(
            (to, e) for to, e in self.open if to == source and isinstance(e.message, request)
        )
        self.open.remove(asked)
        payload = codec.encode(Envelope(7, asked[1].number, answer))
        return self.took(self.core.datagram_received(source, payload, self.now))

    def waits_until(self, time: float) -> list[tuple[IPv6Address, Message]]:
        said: list[tuple[IPv6Address, Message]] = []
        while self.core.deadline is not None and self.core.deadline <= time:
            self.now = self.core.deadline
            said += self.took(self.core.timer_expired(self.now))
        self.now = time
        return said

    def took(self, effects: list[Effect]) -> list[tuple[IPv6Address, Message]]:
        self.effects = effects
        said: list[tuple[IPv6Address, Message]] = []
        for effect in effects:
            if isinstance(effect, SendSignal):
                envelope = codec.decode(effect.payload)
                if envelope.epoch == 7:
                    if (effect.destination, envelope) not in self.open:
                        self.open.append((effect.destination, envelope))
                    said.append((effect.destination, envelope.message))
        return said

    @property
    def records(self) -> list[tuple[str, str | None]]:
        return [(e.event, e.numeral) for e in self.effects if isinstance(e, Record)]

    def leaves(
        self, node: NodeIdentity, departure: int = 1, talks_to: tuple[IPv6Address, ...] = ()
    ) -> list[tuple[IPv6Address, Message]]:
        home, external = node.internal_home_address, node.external_home_address
        notice = NodeExternal(home, external, departure, in_session_with=talks_to)
        return self.hears(SG, notice)

    def accepts(self, node: IPv6Address, generation: int = 1) -> list[tuple[IPv6Address, Message]]:
        return self.is_answered(node, SaOffer, SaAccept(1, generation))

    def switches(self, node: IPv6Address) -> list[tuple[IPv6Address, Message]]:
        return self.is_answered(node, PeerReady, Acknowledge())

    def goes_back(self, node: IPv6Address) -> list[tuple[IPv6Address, Message]]:
        return self.is_answered(node, Withdraw, Acknowledge())


def both_external(
    *,
    binding_keys: bool = False,
    keys: KeyScheme = KeyScheme.SEPARATE,
    proposals: Mapping[IPv6Address, SaProposal] = PROPOSALS,
) -> Vcm:
    vcm = Vcm(binding_keys=binding_keys, keys=keys, proposals=proposals)
    vcm.leaves(MN2)
    vcm.leaves(MN1)
    return vcm


@pytest.mark.parametrize("best_path", list(BestPath))
def test_there_is_no_pair_where_the_gateway_is_the_best_path(best_path: BestPath):
    vcm = Vcm(best_path=best_path)
    vcm.leaves(MN2)
    vcm.leaves(MN1)
    said = vcm.hears(SG, SessionDetected(A, B))
    offers = [message for _, message in said if isinstance(message, SaOffer)]
    assert len(offers) == (2 if best_path.has_pairs else 0)
    assert {A, B} == {context.internal_home_address for context in vcm.core.contexts}
    assert vcm.core.contexts[0].correspondents == {A}
    vcm.waits_until(1000.0)
    vcm.hears(SG, NodeInternal(A))
    assert [context.internal_home_address for context in vcm.core.contexts] == [B]


def offered() -> Vcm:
    vcm = both_external()
    vcm.hears(SG, SessionDetected(A, B))
    return vcm


def protected() -> Vcm:
    vcm = offered()
    for node in (A, B):
        vcm.accepts(node)
    for node in (A, B):
        vcm.switches(node)
    return vcm


def to_whom(said: list[tuple[IPv6Address, Message]], kind: type[Message]) -> list[IPv6Address]:
    return [to for to, message in said if isinstance(message, kind)]


def test_202_makes_the_context_of_a_node():
    vcm = Vcm()
    vcm.hears(SG, NodeExternal(A, MN1.external_home_address, 1, correspondents=(B,)))
    vcm.hears(SG, MoreCorrespondents(A, (FILE_SERVER,)))
    (context,) = vcm.core.contexts
    assert vcm.effects[-1] == StoreContext(context)
    assert context.internal_home_address == A
    assert context.external_home_address == MN1.external_home_address
    assert context.correspondents == {B, FILE_SERVER}


def test_with_public_addresses_the_context_has_one_home_address():
    home = MN1.external_home_address
    vcm = Vcm(proposals={}, company=PUBLIC_COMPANY)
    vcm.hears(SG, NodeExternal(home, home, 1, correspondents=(FILE_SERVER,)))
    (context,) = vcm.core.contexts
    assert context.internal_home_address is None
    assert (context.external_home_address, context.address) == (home, home)
    vcm.hears(SG, NodeInternal(home))
    assert vcm.effects[-1] == RemoveContext(home)


def test_202_is_acknowledged():
    vcm = Vcm()
    vcm.leaves(MN1)
    (acknowledgement, _) = vcm.effects
    assert isinstance(acknowledgement, SendSignal)
    assert codec.decode(acknowledgement.payload).message == Acknowledge()


def test_a_detected_session_is_offered_to_both_nodes_206_to_the_one_that_left_first():
    vcm = both_external()
    said = vcm.hears(SG, SessionDetected(A, B))
    assert [(to, type(message)) for to, message in said] == [(B, SaOffer), (A, SaOffer)]
    assert vcm.records == [
        ("vcm_pair_minted", None),
        ("vcm_offer_sent", "206"),
        ("vcm_offer_sent", "210"),
    ]


def test_the_two_offers_are_two_views_of_one_pair():
    vcm = both_external()
    (_, to_second), (_, to_first) = vcm.hears(SG, SessionDetected(A, B))
    assert isinstance(to_second, SaOffer)
    assert isinstance(to_first, SaOffer)
    assert to_second.peer_external_home_address == MN1.external_home_address
    for one, other in ((to_first, to_second), (to_second, to_first)):
        assert one.inbound == other.outbound


def test_the_contexts_hold_the_secrets_of_the_session():
    vcm = offered()
    for context, peer in zip(vcm.core.contexts, (A, B), strict=True):
        (managed,) = context.managed_pairs
        assert managed.peer == peer
        assert managed.inbound.destination == context.external_home_address
        assert context.correspondents == {peer}


def test_a_detected_session_is_not_offered_twice():
    assert offered().hears(SG, SessionDetected(A, B)) == []


def test_each_acceptance_is_forwarded_with_its_numeral():
    vcm = offered()
    assert vcm.accepts(A) == [(B, PeerReady(1, 1))]
    assert vcm.records == [("vcm_offer_accepted", "212"), ("vcm_acceptance_forwarded", "212")]
    assert vcm.accepts(B) == [(A, PeerReady(1, 1))]
    assert vcm.records == [("vcm_offer_accepted", "208"), ("vcm_acceptance_forwarded", "208")]


def test_a_session_that_overtakes_news_of_its_node_waits_for_them():
    vcm = Vcm()
    vcm.leaves(MN2)
    assert vcm.hears(SG, SessionDetected(A, B)) == []
    assert vcm.leaves(MN3) == []
    assert to_whom(vcm.leaves(MN1), SaOffer) == [B, A]


def test_a_session_that_has_waited_in_vain_is_watched_for():
    vcm = Vcm()
    vcm.leaves(MN2)
    vcm.hears(SG, SessionDetected(A, B))
    vcm.waits_until(PATIENCE_S)
    assert vcm.leaves(MN1) == []
    assert to_whom(vcm.waits_until(vcm.now + PATIENCE_S), PairWithdrawn) == [SG]


def test_a_session_does_not_wait_for_a_node_that_returned():
    vcm = Vcm()
    vcm.leaves(MN2)
    vcm.hears(SG, SessionDetected(A, B))
    vcm.hears(SG, NodeInternal(B))
    vcm.leaves(MN2, departure=2)
    assert vcm.leaves(MN1) == []


def test_a_session_that_comes_with_a_nodes_leaving_is_offered_as_one_that_comes_alone():
    separate, combined = offered(), Vcm()
    combined.leaves(MN2)
    said = combined.leaves(MN1, talks_to=(B,))
    assert [(to, type(message)) for to, message in said] == [(B, SaOffer), (A, SaOffer)]
    assert combined.records == separate.records
    assert combined.core.contexts == separate.core.contexts


def test_a_session_that_comes_with_a_node_may_wait_for_the_other_one():
    vcm = Vcm()
    assert vcm.leaves(MN1, talks_to=(B,)) == []
    assert to_whom(vcm.leaves(MN2), SaOffer) == [A, B]


def test_a_session_that_came_with_a_departure_is_no_news_in_a_later_notice_of_it():
    vcm = protected()
    vcm.hears(A, SessionIdle(1, 60))
    vcm.leaves(MN1, talks_to=(B,))
    vcm.goes_back(A)
    assert to_whom(vcm.goes_back(B), SaOffer) == []


def test_a_node_that_has_returned_is_sent_nothing_any_more():
    vcm = protected()
    vcm.hears(A, SessionIdle(1, 60))
    vcm.goes_back(A)
    vcm.goes_back(B)
    vcm.hears(SG, NodeInternal(B))
    assert {to for to, _ in vcm.waits_until(vcm.now + 30)} == {A, SG}


def test_the_return_of_a_node_that_was_never_outside_is_no_news():
    assert Vcm().hears(SG, NodeInternal(STRANGER)) == []


def test_the_return_of_a_node_orders_the_one_outside_back():
    vcm = protected()
    assert vcm.hears(SG, NodeInternal(A)) == [(B, Withdraw(1, "a node returned"))]
    assert RemoveContext(MN1.external_home_address) in vcm.effects
    assert vcm.goes_back(B) == [(B, Release(1, 1))]
    (context,) = vcm.core.contexts
    assert context.managed_pairs == ()
    assert vcm.records == [("vcm_pair_withdrawn", None)]


def test_the_return_of_a_node_leaves_other_pairs_alone():
    vcm = protected()
    vcm.leaves(MN3)
    assert vcm.hears(SG, NodeInternal(MN3.internal_home_address)) == []


def test_a_departure_with_a_new_number_implies_a_return():
    vcm = protected()
    assert to_whom(vcm.leaves(MN1, departure=9), Withdraw) == [B]
    assert [c.departure for c in vcm.core.contexts] == [1, 9]


def test_202_repeated_changes_nothing_but_the_correspondents():
    vcm = protected()
    vcm.hears(SG, NodeExternal(A, MN1.external_home_address, 1, correspondents=(FILE_SERVER,)))
    context = vcm.core.contexts[1]
    assert context.correspondents == {B, FILE_SERVER}
    assert len(context.managed_pairs) == 1


def test_an_idle_pair_is_withdrawn_from_both_ends_and_watched_for_again():
    vcm = protected()
    said = vcm.hears(A, SessionIdle(1, 60))
    assert said == [(A, Withdraw(1, "idle")), (B, Withdraw(1, "idle"))]
    vcm.goes_back(A)
    said = vcm.goes_back(B)
    idle = PairWithdrawn(A, B, idle=True)
    assert said == [(A, Release(1, 1)), (B, Release(1, 1)), (SG, idle)]


def test_a_session_detected_while_its_pair_is_withdrawn_gets_a_new_one():
    vcm = protected()
    vcm.hears(A, SessionIdle(1, 60))
    assert vcm.hears(SG, SessionDetected(A, B)) == []
    vcm.goes_back(A)
    said = vcm.goes_back(B)
    assert [m.pair for _, m in said if isinstance(m, SaOffer)] == [2, 2]
    assert to_whom(said, PairWithdrawn) == []


def test_a_report_about_a_pair_of_others_or_of_the_past_is_ignored():
    vcm = protected()
    assert vcm.hears(MN3.internal_home_address, SessionIdle(1, 60)) == []
    assert vcm.hears(A, PairDropped(9, "inside")) == []


def test_a_pair_that_one_end_dropped_is_withdrawn_from_the_other():
    vcm = protected()
    assert to_whom(vcm.hears(A, PairDropped(1, "expired")), Withdraw) == [B]
    assert (SG, PairWithdrawn(A, B)) in vcm.goes_back(B)


@pytest.mark.parametrize("answer", [SaRefuse(1, 1, "EINVAL"), Acknowledge(), SaAccept(1, 2)])
def test_an_offer_that_is_not_accepted_is_withdrawn_from_both_ends(answer: Answer):
    vcm = offered()
    assert to_whom(vcm.is_answered(A, SaOffer, answer), Withdraw) == [A, B]
    assert ("vcm_refused_by_node", None) in vcm.records


def test_an_outbound_policy_that_is_refused_withdraws_the_pair():
    vcm = offered()
    vcm.accepts(B)
    assert to_whom(vcm.is_answered(A, PeerReady, SaRefuse(1, 1, "EINVAL")), Withdraw) == [A, B]


def test_a_failed_session_is_left_alone_for_a_while_and_then_watched_for():
    vcm = offered()
    vcm.is_answered(A, SaOffer, SaRefuse(1, 1, "EINVAL"))
    vcm.goes_back(A)
    vcm.goes_back(B)
    assert vcm.hears(SG, SessionDetected(A, B)) == []
    assert to_whom(vcm.waits_until(vcm.now + HOLD_DOWN_S), PairWithdrawn) == [SG]
    assert to_whom(vcm.hears(SG, SessionDetected(A, B)), SaOffer) == [B, A]


def test_a_failed_session_of_a_node_that_returned_is_not_watched_for():
    vcm = offered()
    vcm.is_answered(A, SaOffer, SaRefuse(1, 1, "EINVAL"))
    vcm.goes_back(A)
    vcm.goes_back(B)
    vcm.hears(SG, NodeInternal(A))
    assert to_whom(vcm.waits_until(vcm.now + HOLD_DOWN_S), PairWithdrawn) == []


def test_a_session_whose_detection_overtook_the_nodes_return_is_watched_for():
    vcm = protected()
    assert vcm.hears(SG, SessionDetected(A, B)) == []
    vcm.hears(SG, NodeInternal(A))
    vcm.goes_back(B)
    assert vcm.leaves(MN1, departure=2) == []
    assert to_whom(vcm.waits_until(vcm.now + PATIENCE_S), PairWithdrawn) == [SG]


def test_a_session_that_is_detected_in_time_is_not_watched_for():
    vcm = protected()
    vcm.hears(SG, NodeInternal(A))
    vcm.goes_back(B)
    vcm.leaves(MN1, departure=2)
    assert to_whom(vcm.hears(SG, SessionDetected(A, B)), SaOffer) == [B, A]
    assert to_whom(vcm.waits_until(vcm.now + PATIENCE_S), PairWithdrawn) == []


def test_an_offer_without_an_answer_is_given_up_and_withdrawn_from_both_ends():
    vcm = offered()
    vcm.accepts(B)
    said = vcm.waits_until(20)
    assert set(to_whom(said, Withdraw)) == {A, B}


def test_a_pair_is_renewed_before_it_expires():
    vcm = protected()
    said = vcm.waits_until(RENEWAL * LIFETIME_S)
    assert [m.generation for _, m in said if isinstance(m, SaOffer)] == [2, 2]
    for node in (A, B):
        vcm.accepts(node, generation=2)
    vcm.switches(A)
    assert vcm.switches(B) == [(A, Release(1, 1)), (B, Release(1, 1))]
    assert [len(context.managed_pairs) for context in vcm.core.contexts] == [1, 1]


def test_without_binding_keys_return_routability_is_left_to_the_nodes():
    offers = both_external().hears(SG, SessionDetected(A, B))
    assert [m.binding_keys for _, m in offers if isinstance(m, SaOffer)] == [None, None]


def test_binding_keys_are_two_views_of_the_same_two_and_fresh_in_each_generation():
    vcm = both_external(binding_keys=True)
    generations = [vcm.hears(SG, SessionDetected(A, B))]
    for node in (A, B):
        vcm.accepts(node)
    for node in (A, B):
        vcm.switches(node)
    generations.append(vcm.waits_until(RENEWAL * LIFETIME_S))
    seen = set[bytes]()
    for said in generations:
        one, other = (m.binding_keys for _, m in said if isinstance(m, SaOffer))
        assert one is not None
        assert other == BindingKeys(one.outbound, one.inbound)
        seen |= {one.inbound, one.outbound}
    assert len(seen) == 4


def test_generations_have_secrets_and_reqids_of_their_own():
    vcm = protected()
    vcm.waits_until(RENEWAL * LIFETIME_S)
    first, second = vcm.core.contexts[0].managed_pairs
    assert first.inbound.reqid != second.inbound.reqid
    assert isinstance(first.keys, GivenKeys)
    assert isinstance(second.keys, GivenKeys)
    secrets = {key for keys in (first.keys, second.keys) for key in (keys.inbound, keys.outbound)}
    assert len(secrets) == 4


def test_a_pair_that_is_being_withdrawn_is_not_renewed_and_expires():
    vcm = protected()
    vcm.hears(SG, NodeInternal(A))
    said = vcm.waits_until(LIFETIME_S + EXPIRY_MARGIN_S + 1)
    assert to_whom(said, SaOffer) == []
    assert vcm.core.deadline is None


def test_a_pair_that_is_not_protected_in_time_is_not_renewed():
    vcm = offered()
    vcm.accepts(A)
    vcm.accepts(B)
    vcm.switches(A)
    # mn2 never says that it has switched
    vcm.core._signalling.cancel(B, lambda _: True)  # pyright: ignore[reportPrivateUsage]
    assert vcm.waits_until(RENEWAL * LIFETIME_S) == []


@pytest.mark.parametrize(
    ("source", "message", "reason"),
    [
        (SG, SessionIdle(1, 1), "SessionIdle"),
        (A, NodeInternal(A), "NodeInternal"),
        (A, SessionDetected(A, B), "SessionDetected"),
        (STRANGER, NodeInternal(A), "not-a-peer"),
    ],
)
def test_nobody_is_listened_to_beyond_his_role(source: IPv6Address, message: Request, reason: str):
    vcm = protected()
    assert vcm.hears(source, message) == []
    assert [e.details for e in vcm.effects if isinstance(e, Record)] == [
        {"source": str(source), "reason": reason}
    ]


def test_noise_is_ignored_with_a_reason():
    vcm = Vcm()
    vcm.took(vcm.core.datagram_received(SG, b"noise", 0.0))
    assert vcm.records == [("vcm_ignored", None)]


@pytest.mark.parametrize("make", [offered, protected])
def test_no_secret_is_in_any_record(make: Callable[[], Vcm]):
    vcm = make()
    (managed, *_) = vcm.core.contexts[0].managed_pairs
    assert isinstance(managed.keys, GivenKeys)
    assert repr(managed.keys.inbound) not in repr(vcm.effects)


def offers_of(said: list[tuple[IPv6Address, Message]]) -> list[SaOffer]:
    return [message for _, message in said if isinstance(message, SaOffer)]


@pytest.mark.parametrize("scheme", KeyScheme)
def test_what_both_ends_are_told_of_secrets_fits_together(scheme: KeyScheme):
    to_second, to_first = offers_of(both_external(keys=scheme).hears(SG, SessionDetected(A, B)))
    match to_first.keys, to_second.keys:
        case GivenKeys() as one, GivenKeys() as other:
            assert (one.inbound, one.outbound) == (other.outbound, other.inbound)
            assert one.inbound != one.outbound
        case KeyAgreement() as one, KeyAgreement() as other:
            assert one.own_public_key == other.peer_public_key
            assert other.own_public_key == one.peer_public_key
            assert one.own_private_key != other.own_private_key or scheme is KeyScheme.BLIND
        case _:
            pytest.fail("two kinds of keys")


def test_a_blind_vcm_passes_on_the_public_keys_that_it_was_told_and_no_private_one():
    vcm = both_external(keys=KeyScheme.BLIND)
    _, to_first = offers_of(vcm.hears(SG, SessionDetected(A, B)))
    assert to_first.keys == KeyAgreement(b"\1" * 32, b"\2" * 32)
    assert [pair.keys for c in vcm.core.contexts for pair in c.managed_pairs] == [
        KeyAgreement(b"\2" * 32, b"\1" * 32),
        KeyAgreement(b"\1" * 32, b"\2" * 32),
    ]


def test_a_blind_vcm_has_no_use_for_a_proposal_without_a_public_key():
    vcm = both_external(keys=KeyScheme.BLIND, proposals={A: PROPOSALS[A]})
    vcm.hears(B, SaProposal(tuple(EspAlgorithm)))
    assert vcm.records == [("vcm_ignored", None)]
    assert vcm.hears(SG, SessionDetected(A, B)) == []


def test_a_renewal_takes_the_newest_public_keys():
    vcm = both_external(keys=KeyScheme.BLIND)
    vcm.hears(SG, SessionDetected(A, B))
    for node in (A, B):
        vcm.accepts(node)
    for node in (A, B):
        vcm.switches(node)
    vcm.hears(A, SaProposal(tuple(EspAlgorithm), b"\11" * 32))
    _, to_first = offers_of(vcm.waits_until(RENEWAL * LIFETIME_S))
    assert to_first.keys == KeyAgreement(b"\11" * 32, b"\2" * 32)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (PROPOSALS[A], PROPOSALS[B], EspAlgorithm.AES256GCM16),
        # The VCM's order counts, not the nodes'.
        (ONLY_GCM, PROPOSALS[B], EspAlgorithm.AES256GCM16),
        (PROPOSALS[A], ONLY_CBC, EspAlgorithm.AES256_SHA256),
    ],
)
def test_a_pair_takes_the_best_algorithm_that_both_propose(
    one: SaProposal, other: SaProposal, expected: EspAlgorithm
):
    vcm = both_external(proposals={A: one, B: other})
    offers = offers_of(vcm.hears(SG, SessionDetected(A, B)))
    algorithms = {o.inbound.algorithm for o in offers} | {o.outbound.algorithm for o in offers}
    assert algorithms == {expected}


def test_a_session_waits_for_the_proposals_of_its_nodes():
    vcm = both_external(proposals={A: PROPOSALS[A]})
    assert vcm.hears(SG, SessionDetected(A, B)) == []
    assert to_whom(vcm.hears(B, PROPOSALS[B]), SaOffer) == [B, A]


def test_a_session_that_has_waited_for_a_proposal_in_vain_is_watched_for():
    vcm = both_external(proposals={})
    vcm.hears(SG, SessionDetected(A, B))
    assert to_whom(vcm.waits_until(PATIENCE_S), PairWithdrawn) == [SG]
    assert vcm.hears(A, PROPOSALS[A]) == []
    vcm.hears(SG, SessionDetected(A, B))
    assert to_whom(vcm.hears(B, PROPOSALS[B]), SaOffer) == [B, A]


def unmatched() -> Vcm:
    vcm = both_external(proposals={A: ONLY_GCM, B: ONLY_CBC})
    vcm.hears(SG, SessionDetected(A, B))
    return vcm


def test_without_an_algorithm_in_common_a_session_stays_on_the_gateway_and_that_is_told():
    vcm = unmatched()
    assert [e.details for e in vcm.effects if isinstance(e, Record)] == [
        {
            "nodes": [str(A), str(B)],
            "first_proposes": ["aes128gcm16", "aes256gcm16"],
            "second_proposes": ["aes256-sha256"],
        }
    ]
    assert vcm.records == [("vcm_no_algorithm_in_common", None)]
    assert vcm.core.deadline is None
    assert vcm.hears(SG, SessionDetected(A, B)) == []
    assert vcm.records == []


def test_a_session_without_an_algorithm_is_watched_for_when_a_node_proposes_others():
    vcm = unmatched()
    assert vcm.hears(A, ONLY_GCM) == []
    assert vcm.hears(MN3.internal_home_address, ONLY_CBC) == []
    assert vcm.hears(MN3.internal_home_address, ONLY_GCM) == []
    assert to_whom(vcm.hears(A, PROPOSALS[A]), PairWithdrawn) == [SG]
    assert to_whom(vcm.hears(SG, SessionDetected(A, B)), SaOffer) == [B, A]


def test_a_session_without_an_algorithm_is_asked_again_when_a_node_has_left_again():
    vcm = unmatched()
    vcm.hears(SG, NodeInternal(A))
    vcm.leaves(MN1, departure=2)
    vcm.hears(SG, SessionDetected(A, B))
    assert vcm.records == [("vcm_no_algorithm_in_common", None)]


def test_a_pair_is_not_renewed_without_an_algorithm_in_common_but_withdrawn():
    vcm = protected()
    vcm.hears(A, ONLY_GCM)
    vcm.hears(B, ONLY_CBC)
    said = vcm.waits_until(RENEWAL * LIFETIME_S)
    assert said == [(node, Withdraw(1, "no algorithm in common")) for node in (A, B)]
    vcm.goes_back(A)
    assert to_whom(vcm.goes_back(B), PairWithdrawn) == [SG]


def test_the_deadline_is_the_next_thing_to_do():
    vcm = offered()
    assert vcm.core.deadline == 0.5


def test_a_lifetime_that_cannot_be_is_the_callers_fault():
    with pytest.raises(CallerError):
        Manager(
            epoch=1, security_gateway=SG, nodes=[A], random_bytes=DifferentBytes(), lifetime_s=0
        )


def test_what_needs_no_more_than_an_acknowledgement_is_done_with_it():
    vcm = protected()
    vcm.hears(A, SessionIdle(1, 60))
    vcm.goes_back(A)
    vcm.goes_back(B)
    for peer, request in ((A, Release), (B, Release), (SG, PairWithdrawn)):
        vcm.is_answered(peer, request, Acknowledge())
        assert vcm.effects == []
    assert vcm.core.deadline is None
