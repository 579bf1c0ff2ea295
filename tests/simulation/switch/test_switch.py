"""Figure 2 without a kernel: detector, VCM and nodes, on a network that loses and reorders."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobivpn.host.keyring import Keyring
from mobivpn.host.plan import NodeIdentity
from mobivpn.host.sa_endpoint import EXPIRY_GRACE_S, GRACE_S
from mobivpn.ipsec.keying import KeyAgreement
from mobivpn.ipsec.sa import EspAlgorithm
from mobivpn.sessions.gateway import Flow, PortRole
from mobivpn.signalling import codec
from mobivpn.signalling.messages import SaOffer, SaProposal
from mobivpn.variants import KeyScheme, Trigger
from tests.simulation.switch.network import (
    BINDING_DELAY_S,
    SIGNALLING_DELAY_S,
    Faults,
    World,
    two_external_nodes,
)
from tests.support.company import MN1, MN2, MN3
from tests.support.examples import share

CBC = (EspAlgorithm.AES256_SHA256,)


def protected_world(**options: object) -> World:
    world = World(**options)  # type: ignore[arg-type]
    two_external_nodes(world)
    world.run_until(world.now + 1.0)
    assert world.protected(MN1, MN2)
    return world


def test_two_external_nodes_that_talk_become_direct():
    world = World()
    two_external_nodes(world)
    assert not world.protected(MN1, MN2)
    world.run_until(world.now + 0.3)
    assert world.protected(MN1, MN2)
    world.run_until(world.now + 5)
    assert world.paths["lost"] == 0
    assert world.paths["direct"] > 0


def test_the_steps_come_in_the_order_of_figure_2():
    world = protected_world()
    steps = [
        (record.numeral, record.event)
        for _, _, record in world.records
        if record.numeral is not None
    ]
    assert steps == [
        ("202", "sg_mn_external"),
        ("202", "sg_mn_external"),
        ("202", "sg_session_detected"),
        ("206", "vcm_offer_sent"),
        ("210", "vcm_offer_sent"),
        ("212", "vcm_offer_accepted"),  # MN1 is nearer than MN2
        ("212", "vcm_acceptance_forwarded"),
        ("208", "vcm_offer_accepted"),
        ("208", "vcm_acceptance_forwarded"),
    ]


def test_neither_end_waits_for_more_than_the_peers_chain():
    world = World()
    two_external_nodes(world)
    left_at = world.now
    world.run_until(left_at + 2)
    switched = {
        node: at - left_at for at, node, r in world.records if r.event == "outbound_switched"
    }
    near, far = SIGNALLING_DELAY_S[MN1], SIGNALLING_DELAY_S[MN2]
    notice = BINDING_DELAY_S + 2 * 0.0002
    legs = 4 * 0.0002
    assert switched["mn2"] == pytest.approx(notice + 2 * near + far + legs, abs=1e-3)
    assert switched["mn1"] == pytest.approx(notice + 2 * far + near + legs, abs=1e-3)


def test_packets_of_a_known_flow_never_visit_the_controller():
    world = protected_world()
    assert world.visits
    assert set(world.visits.values()) == {1}


def test_one_node_home_orders_the_other_back_to_the_gateway():
    world = protected_world()
    world.return_home(MN1)
    world.run_until(world.now + 1)
    assert world.nodes[MN2].encrypts_for(world.nodes[MN1]) is None
    world.run_until(world.now + GRACE_S)
    assert world.untouched(MN1, MN2)
    world.return_home(MN2)
    world.paths.clear()
    world.run_until(world.now + 1)
    assert set(world.paths) == {"lan"}
    assert world.stored == {}


def test_a_node_that_leaves_again_is_direct_again():
    world = protected_world()
    world.return_home(MN1)
    world.run_until(world.now + 1)
    world.leave(MN1)
    world.run_until(world.now + 1)
    assert world.protected(MN1, MN2)


def test_a_return_that_the_gateway_misses_is_told_by_the_node():
    world = protected_world()
    world.return_home(MN1, unnoticed=True)
    world.run_until(world.now + 0.01)
    world.leave(MN1)
    world.run_until(world.now + 2)
    assert world.protected(MN1, MN2)
    assert len(world.events("vcm_pair_minted")) == 2


def test_a_direct_pair_outlives_its_flows_at_the_gateway():
    world = protected_world(idle_timeout_s=3)
    world.run_until(world.now + 20)
    assert world.protected(MN1, MN2)
    assert world.events("vcm_pair_withdrawn") == []


@pytest.mark.parametrize("idle_timeout_s", [2, 600])
def test_a_pair_that_was_idle_is_made_anew_when_packets_come_again(idle_timeout_s: int):
    world = World(idle_timeout_s=idle_timeout_s)
    world.leave(MN1)
    world.leave(MN2)
    world.run_until(1)
    world.talk(MN1, MN2, until=2)
    world.run_until(10)
    assert world.protected(MN1, MN2)
    node = world.nodes[MN1]
    world._from_node(node, node.endpoint.pair_idle(MN2.internal_home_address, 8, world.now))
    world.run_until(20)
    assert world.untouched(MN1, MN2)
    world.talk(MN1, MN2, until=21)
    world.run_until(22)
    assert world.protected(MN1, MN2)


@pytest.mark.parametrize("trigger", Trigger)
def test_a_session_that_exists_is_one_trigger(trigger: Trigger):
    world = World(trigger=trigger)
    two_external_nodes(world)
    world.run_until(world.now + 20)
    assert world.protected(MN1, MN2) is (trigger is not Trigger.INITIATION)
    assert world.untouched(MN1, MN2) is (trigger is Trigger.INITIATION)


@pytest.mark.parametrize("trigger", Trigger)
def test_a_session_that_is_initiated_is_another(trigger: Trigger):
    world = World(trigger=trigger)
    world.leave(MN1)
    world.leave(MN2)
    world.run_until(1)
    world.talk(MN1, MN2, until=20)
    world.run_until(20)
    assert world.protected(MN1, MN2) is (trigger is not Trigger.SESSION)
    assert world.untouched(MN1, MN2) is (trigger is Trigger.SESSION)


def test_a_session_that_is_not_what_triggers_stays_on_the_gateway_until_it_is():
    world = World(trigger=Trigger.INITIATION, idle_timeout_s=5)
    world.talk(MN1, MN2, until=10)
    world.run_until(1)
    world.leave(MN2)
    world.run_until(2)
    world.leave(MN1)
    # What was outside has come home and gone again: that is no beginning either.
    world.run_until(4)
    world.return_home(MN1)
    world.run_until(5)
    world.leave(MN1)
    world.run_until(20)
    assert world.events("vcm_pair_minted") == []
    world.talk(MN1, MN2, until=22)
    world.run_until(22)
    assert world.protected(MN1, MN2)


def test_a_session_whose_pair_failed_needs_no_other_trigger():
    world = World(trigger=Trigger.SESSION, lifetime_s=50, idle_timeout_s=3)
    two_external_nodes(world)
    world.run_until(30)
    world.faults.loss = 1.0
    world.run_until(30 + 50 + 1)
    assert not world.protected(MN1, MN2)
    world.faults.loss = 0.0
    world.run_until(world.now + 70)
    assert world.protected(MN1, MN2)
    assert world.paths["lost"] == 0


def test_a_session_that_was_idle_is_over_where_only_existing_ones_trigger():
    world = protected_world(trigger=Trigger.SESSION)
    node = world.nodes[MN1]
    world._from_node(node, node.endpoint.pair_idle(MN2.internal_home_address, 60, world.now))
    world.run_until(world.now + 20)
    assert world.untouched(MN1, MN2)
    world.return_home(MN1)
    world.run_until(world.now + 1)
    world.leave(MN1)
    world.run_until(world.now + 1)
    assert world.protected(MN1, MN2)


def test_combined_notices_make_the_same_pair_with_fewer_messages():
    sent: dict[bool, list[str]] = {}
    for combined in (False, True):
        world = protected_world(combined=combined)
        kinds = [type(codec.decode(payload).message).__name__ for payload in world.payloads]
        sent[combined] = sorted(kinds)
    assert sorted([*sent[True], "SessionDetected", "Acknowledge"]) == sent[False]


def test_a_combined_notice_that_is_replaced_before_it_arrives_loses_no_session():
    world = World(combined=True)
    world.talk(MN1, MN2, until=1e9)
    world.run_until(1)
    world.leave(MN2)
    world.run_until(2)
    world.faults.loss = 1.0
    world.leave(MN1)
    world.run_until(3)
    world.packet(MN1, MN3)
    world.run_until(4)
    world.faults.loss = 0.0
    world.run_until(20)
    assert world.protected(MN1, MN2)
    assert MN3.internal_home_address in world.stored[MN1.external_home_address].correspondents


def test_what_is_under_way_when_the_order_back_comes_still_arrives():
    world = protected_world(direct_delay_s=0.4)
    node = world.nodes[MN1]
    world._from_node(node, node.endpoint.pair_idle(MN2.internal_home_address, 60, world.now))
    world.run_until(world.now + 1)
    assert world.events("vcm_pair_withdrawn") == ["vcm_pair_withdrawn"]
    assert world.paths["lost"] == 0


def test_one_way_traffic_is_a_session_too():
    world = World()
    world.leave(MN1)
    world.leave(MN2)
    world.run_until(1)
    world.packet(MN2, MN1)
    world.run_until(2)
    assert world.protected(MN1, MN2)


def test_three_nodes_have_three_pairs_with_secrets_of_their_own():
    world = World()
    for one, other in ((MN1, MN2), (MN2, MN3), (MN3, MN1)):
        world.talk(one, other, until=60)
        world.leave(one)
    world.run_until(2)
    for one, other in ((MN1, MN2), (MN2, MN3), (MN3, MN1)):
        assert world.protected(one, other)
    keys = world.installed_keys()
    assert len(keys) == 12
    assert len(set(keys)) == 6


def test_correspondents_inside_are_told_to_the_vcm():
    world = World()
    world.leave(MN1)
    world.run_until(1)
    world.packet(MN1, MN3)
    world.run_until(2)
    assert world.stored[MN1.external_home_address].correspondents == {MN3.internal_home_address}


def test_renewal_replaces_the_pair_without_losing_a_packet():
    world = World(lifetime_s=100)
    two_external_nodes(world)
    world.run_until(75)
    first = world.nodes[MN1].encrypts_for(world.nodes[MN2])
    world.run_until(85)
    second = world.nodes[MN1].encrypts_for(world.nodes[MN2])
    assert first is not None
    assert second is not None
    assert first.key != second.key
    assert world.protected(MN1, MN2)
    assert not world.nodes[MN2].decrypts(first)
    assert [p.generation for p in world.stored[MN1.external_home_address].managed_pairs] == [2]
    world.run_until(400)
    assert world.protected(MN1, MN2)
    assert world.paths["lost"] == 0


def test_without_a_vcm_a_pair_ends_with_its_lifetime_and_loses_nothing():
    world = World(lifetime_s=50)
    two_external_nodes(world)
    world.run_until(30)
    world.faults.loss = 1.0
    world.run_until(30 + 50)
    for one, other in ((MN1, MN2), (MN2, MN1)):
        assert world.nodes[one].encrypts_for(world.nodes[other]) is None
    assert world.paths["lost"] == 0
    world.run_until(30 + 50 + EXPIRY_GRACE_S)
    assert world.untouched(MN1, MN2)


def test_notices_are_sent_until_the_vcm_has_them():
    world = World()
    two_external_nodes(world)
    world.faults.loss = 1.0
    world.run_until(world.now + 60)
    assert world.events("vcm_pair_minted") == []
    world.faults.loss = 0.0
    world.run_until(world.now + 10)
    assert world.protected(MN1, MN2)


def test_a_node_cut_off_during_set_up_is_withdrawn_and_the_session_tried_again():
    world = World()
    two_external_nodes(world)
    world.run_until(world.now + 0.025)
    assert world.events("vcm_offer_sent") == ["vcm_offer_sent"] * 2
    world.faults.loss = 1.0
    world.run_until(world.now + 20)
    assert world.events("vcm_gave_up") == ["vcm_gave_up"] * 2
    assert not world.protected(MN1, MN2)
    world.faults.loss = 0.0
    world.run_until(world.now + 20)
    assert world.events("vcm_pair_withdrawn") == ["vcm_pair_withdrawn"]
    assert world.protected(MN1, MN2)


def test_a_kernel_that_refuses_ends_the_pair_and_traffic_stays_on_the_gateway():
    world = World(faults=Faults(refusal=1.0))
    two_external_nodes(world)
    world.run_until(world.now + 4)
    assert world.untouched(MN1, MN2)
    assert "vcm_refused_by_node" in world.events("vcm_refused_by_node")
    assert world.paths["lost"] == 0
    world.faults.refusal = 0.0
    world.run_until(world.now + 10)
    assert world.protected(MN1, MN2)


def as_sent(secret: bytes) -> list[bytes]:
    """Return all forms in which a message could have a secret."""
    return [secret, secret.hex().encode(), secret.hex(":").encode(), b64encode(secret)]


def test_secrets_travel_in_offers_only_and_appear_in_no_record():
    world = protected_world()
    keys = world.installed_keys()
    assert keys
    forms = [form for key in keys for form in as_sent(key)]
    for payload in world.payloads:
        offered = isinstance(codec.decode(payload).message, SaOffer)
        assert any(form in payload for form in forms) == offered
    shown = repr(world.records) + repr(world.stored) + repr(codec.decode(world.payloads[0]))
    assert not any(key.hex() in shown or repr(key) in shown for key in keys)


def test_flows_of_a_hairpin_are_counted_on_their_first_pass_only():
    world = protected_world()
    mn1, mn2 = MN1.internal_home_address, MN2.internal_home_address
    assert world.visits[Flow(PortRole.GATEWAY, mn1, mn2)] == 1
    assert mn2 in world.stored[MN1.external_home_address].correspondents


FAULTS = st.builds(
    Faults,
    loss=st.sampled_from([0.0, 0.1, 0.4]),
    duplication=st.sampled_from([0.0, 0.5]),
    jitter_s=st.sampled_from([0.0, 0.05, 3.0]),
    kernel_delay_s=st.sampled_from([0.0, 0.05, 1.0]),
    refusal=st.sampled_from([0.0, 0.1]),
)
MOVES = st.lists(
    st.tuples(
        st.floats(0.0, 12.0),
        st.sampled_from([MN1, MN2]),
        st.sampled_from(["leave", "return", "bounce", "idle"]),
    ),
    max_size=6,
)


@pytest.mark.parametrize("algorithm", EspAlgorithm)
@pytest.mark.parametrize("keys", KeyScheme)
def test_every_scheme_and_algorithm_leads_to_the_same_keys_at_both_ends(
    keys: KeyScheme, algorithm: EspAlgorithm
):
    world = protected_world(keys=keys, algorithms=dict.fromkeys((MN1, MN2), (algorithm,)))
    first, second = world.nodes[MN1], world.nodes[MN2]
    there, back = first.encrypts_for(second), second.encrypts_for(first)
    assert there is not None
    assert back is not None
    assert second.decrypts(there)
    assert first.decrypts(back)
    assert {there.algorithm, back.algorithm} == {algorithm}
    assert (there.key == back.key) == (
        keys is KeyScheme.SHARED and not algorithm.transform.salt_bytes
    )


def test_a_blind_vcm_never_has_a_secret_of_a_pair_not_even_to_pass_it_on():
    world = World(keys=KeyScheme.BLIND, lifetime_s=20)
    two_external_nodes(world)
    secrets = set[bytes]()
    while world.now < 60:
        world.run_until(world.now + 1)
        secrets.update(world.installed_keys())
        for node in world.nodes.values():
            secrets.update(node.endpoint._keyring._private_keys.values())
    assert len(world.events("vcm_pair_minted")) >= 3
    assert len(secrets) >= 2 * 3 + 2 * 3
    known = b"".join(world.payloads) + repr((world.stored, world.records)).encode()
    assert not any(form in known for secret in secrets for form in as_sent(secret))
    for context in world.stored.values():
        for pair in context.managed_pairs:
            assert isinstance(pair.keys, KeyAgreement)
            assert pair.keys.own_private_key is None


def public_keys(world: World) -> list[bytes]:
    """Return MN1's public keys, one for each offer that it was sent, in their order."""
    offers = {
        (message.pair, message.generation): message.keys
        for message in (codec.decode(payload).message for payload in world.payloads)
        if isinstance(message, SaOffer)
        and message.peer_internal_home_address == MN2.internal_home_address
    }
    return [keys.own_public_key for keys in offers.values() if isinstance(keys, KeyAgreement)]


def test_each_generation_has_key_pairs_of_its_own():
    world = protected_world(keys=KeyScheme.BLIND, lifetime_s=20)
    world.run_until(60)
    used = public_keys(world)
    assert len(used) >= 3
    assert len(set(used)) == len(used)
    assert world.paths["lost"] == 0


def test_a_generation_whose_fresh_key_was_not_heard_of_has_other_keys_all_the_same():
    world = World(keys=KeyScheme.BLIND, lifetime_s=20)
    world.deaf_to = SaProposal
    two_external_nodes(world)
    world.run_until(world.now + 0.01)
    world.run_until(3)
    assert not world.protected(MN1, MN2)
    for identity in (MN1, MN2):
        world.hear_the_first(identity)
    world.run_until(15)
    first = set(world.installed_keys())
    world.run_until(30)
    assert world.protected(MN1, MN2)
    second = set(world.installed_keys())
    assert len(set(public_keys(world))) == 1
    assert len(first | second) == 4


def test_without_an_algorithm_in_common_the_gateway_keeps_the_session_and_nobody_is_asked_again():
    world = World(algorithms={MN1: (EspAlgorithm.AES256GCM16,), MN2: CBC})
    two_external_nodes(world)
    world.run_until(60)
    assert world.events("vcm_no_algorithm_in_common") == ["vcm_no_algorithm_in_common"]
    assert world.events("vcm_pair_minted") == []
    assert world.untouched(MN1, MN2)
    assert set(world.paths) == {"lan", "gateway"}
    world.return_home(MN1)
    world.run_until(61)
    world.leave(MN1)
    world.run_until(62)
    assert len(world.events("vcm_no_algorithm_in_common")) == 2


def test_other_algorithms_at_the_next_departure_make_the_pair_direct():
    world = World(algorithms={MN1: (EspAlgorithm.AES256GCM16,), MN2: CBC})
    two_external_nodes(world)
    world.run_until(10)
    world.return_home(MN1)
    world.run_until(11)
    world.nodes[MN1].endpoint._keyring = Keyring(CBC)
    world.leave(MN1)
    world.run_until(12)
    assert world.protected(MN1, MN2)


@pytest.mark.parametrize("late", [MN1, MN2])
def test_a_proposal_may_come_long_after_202(late: NodeIdentity):
    world = World()
    world.talk(MN1, MN2, until=60)
    world.deaf_to = SaProposal
    for identity in (MN1, MN2):
        world.leave(identity)
        if identity is not late:
            world.run_until(world.now + 0.2)
            world.hear_the_first(identity)
    world.run_until(30)
    assert world.untouched(MN1, MN2)
    world.hear_the_first(late)
    world.run_until(42)
    assert world.protected(MN1, MN2)
    assert world.paths["lost"] == 0


def test_a_proposal_may_come_before_202_and_twice():
    world = World(faults=Faults(duplication=1.0))
    world.talk(MN1, MN2, until=60)
    for identity in (MN1, MN2):
        node = world.nodes[identity]
        world._from_node(node, node.endpoint.went_outside(0.0))
    world.run_until(5)
    for identity in (MN1, MN2):
        world.leave(identity)
    world.run_until(6)
    assert world.protected(MN1, MN2)
    assert len(world.events("vcm_pair_minted")) == 1


def carry_out(world: World, node: object, what: str) -> None:
    identity = MN1 if node is MN1 else MN2
    mobile = world.nodes[identity]
    peer = MN2 if identity is MN1 else MN1
    if what == "leave" and not mobile.outside:
        world.leave(identity)
    elif what == "return" and mobile.outside:
        world.return_home(identity)
    elif what == "bounce" and mobile.outside:
        world.return_home(identity, unnoticed=True)
        world.leave(identity)
    elif what == "idle":
        idle = mobile.endpoint.pair_idle(peer.internal_home_address, 60, world.now)
        world._from_node(mobile, idle)


@given(
    seed=st.integers(0, 2**32),
    faults=FAULTS,
    moves=MOVES,
    lifetime_s=st.sampled_from([20, 999]),
    trigger=st.sampled_from(Trigger),
    combined=st.booleans(),
    keys=st.sampled_from(KeyScheme),
)
@share(0.25)
def test_whatever_happens_nobody_encrypts_in_vain_and_all_ends_well(
    seed: int,
    faults: Faults,
    moves: list[tuple[float, object, str]],
    lifetime_s: int,
    trigger: Trigger,
    combined: bool,
    keys: KeyScheme,
):
    world = World(
        seed=seed,
        faults=faults,
        lifetime_s=lifetime_s,
        trigger=trigger,
        combined=combined,
        keys=keys,
    )
    two_external_nodes(world)
    for pause, node, what in moves:
        world.run_until(world.now + pause)
        carry_out(world, node, what)
    world.run_until(world.now + 5)
    world.faults = Faults()
    world.run_until(world.now + 60)
    both_outside = all(world.nodes[identity].outside for identity in (MN1, MN2))
    if both_outside and (trigger is Trigger.BOTH or not world.untouched(MN1, MN2)):
        assert world.protected(MN1, MN2)
    else:
        assert world.untouched(MN1, MN2)
    world.paths.clear()
    world.run_until(world.now + 10)
    assert world.paths["lost"] == 0
