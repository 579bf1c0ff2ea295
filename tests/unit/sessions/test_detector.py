"""The cache of correspondents (mobivpn.sessions.detector)."""

from hypothesis import given
from hypothesis import strategies as st

from mobivpn.sessions.detector import Detector, Session
from mobivpn.variants import Trigger
from tests.support.company import MN1, MN2, MN3

A, B, C = (node.internal_home_address for node in (MN1, MN2, MN3))
AB, AC, BC = Session.between(A, B), Session.between(A, C), Session.between(B, C)


def with_flow(*sessions: Session) -> Detector[str]:
    detector = Detector[str]()
    for session in sessions:
        detector.flow_seen(session, "flow")
    return detector


def test_a_session_is_the_same_in_whatever_order_its_ends_are_named():
    assert Session.between(B, A) == AB
    assert AB.peer_of(A) == B
    assert AB.peer_of(B) == A
    assert AB.peer_of(C) is None


def test_correspondents_are_those_of_live_sessions():
    detector = with_flow(AC, AB)
    assert detector.correspondents(A) == (B, C)
    assert detector.correspondents(B) == (A,)
    detector.flow_ended(AC, "flow")
    assert detector.correspondents(A) == (B,)


def test_a_session_is_detected_when_its_second_node_leaves():
    detector = with_flow(AB, AC)
    assert detector.node_left(A) == []
    assert detector.node_left(B) == [AB]


def test_a_session_is_detected_when_its_first_packet_comes_last():
    detector = Detector[str]()
    detector.node_left(A)
    detector.node_left(B)
    assert detector.flow_seen(AB, "there") == [AB]


def test_a_session_is_detected_once():
    detector = with_flow(AB)
    detector.node_left(A)
    detector.node_left(B)
    assert detector.flow_seen(AB, "back") == []
    assert detector.node_left(B) == []


def test_an_entry_dies_with_its_last_flow():
    detector = with_flow(AB)
    detector.flow_seen(AB, "back")
    detector.flow_ended(AB, "flow")
    assert detector.is_live(AB)
    detector.flow_ended(AB, "back")
    assert not detector.is_live(AB)
    detector.flow_ended(AB, "back")


def test_a_session_whose_entry_died_is_detected_anew():
    detector = with_flow(AB)
    detector.node_left(A)
    detector.node_left(B)
    detector.flow_ended(AB, "flow")
    assert detector.flow_seen(AB, "flow") == [AB]


def test_a_node_that_returns_and_leaves_again_is_a_new_detection():
    detector = with_flow(AB)
    detector.node_left(A)
    detector.node_left(B)
    detector.node_returned(A)
    assert detector.is_live(AB)
    assert detector.node_left(A) == [AB]


def test_the_return_of_one_node_leaves_the_detections_of_others():
    detector = with_flow(AB)
    detector.node_left(A)
    detector.node_left(B)
    detector.node_returned(C)
    assert detector.flow_seen(AB, "back") == []


def test_an_ended_session_gives_back_its_flows():
    detector = with_flow(AB)
    detector.flow_seen(AB, "back")
    assert detector.end(AB) == {"flow", "back"}
    assert detector.end(AB) == frozenset()


def test_after_the_loss_of_all_flows_every_session_is_new():
    detector = with_flow(AB, AC)
    detector.node_left(A)
    detector.node_left(B)
    detector.flows_lost()
    assert detector.correspondents(A) == ()
    assert detector.flow_seen(AB, "flow") == [AB]


def existing(trigger: Trigger) -> tuple[Detector[str], list[Session]]:
    """Return what is detected when the second node of a session leaves."""
    detector = Detector[str](trigger)
    detector.flow_seen(AB, "flow")
    detector.node_left(A)
    return detector, detector.node_left(B)


def beginning(trigger: Trigger) -> tuple[Detector[str], list[Session]]:
    """Return what is detected when a session begins between two external nodes."""
    detector = Detector[str](trigger)
    detector.node_left(A)
    detector.node_left(B)
    return detector, detector.flow_seen(AB, "flow")


def test_a_trigger_may_ask_for_sessions_that_exist_or_for_those_that_begin():
    for trigger, exists, begins in (
        (Trigger.SESSION, [AB], []),
        (Trigger.INITIATION, [], [AB]),
        (Trigger.BOTH, [AB], [AB]),
    ):
        assert existing(trigger)[1] == exists
        assert beginning(trigger)[1] == begins


def test_the_answer_to_an_old_session_does_not_begin_a_new_one():
    detector, _ = existing(Trigger.INITIATION)
    assert detector.flow_seen(AB, "back") == []


def test_an_old_session_that_was_idle_begins_anew():
    detector, _ = existing(Trigger.INITIATION)
    detector.flow_ended(AB, "flow")
    assert detector.flow_seen(AB, "flow") == [AB]


def test_a_session_that_began_outside_exists_once_a_node_has_left_again():
    detector, _ = beginning(Trigger.SESSION)
    detector.node_returned(A)
    assert detector.node_left(A) == [AB]


def test_a_session_that_went_on_directly_is_detected_when_it_shows_again():
    detector, _ = existing(Trigger.SESSION)
    detector.flow_ended(AB, "flow")
    assert detector.flow_seen(AB, "flow") == [AB]


def test_a_session_that_has_ended_does_not_exist_any_more():
    detector, _ = existing(Trigger.SESSION)
    detector.end(AB)
    assert not detector.was_detected(AB)
    assert detector.flow_seen(AB, "flow") == []


CAUSES = st.lists(
    st.tuples(
        st.sampled_from(["flow_seen", "flow_ended", "node_left", "node_returned"]),
        st.sampled_from([AB, AC, BC]),
        st.sampled_from([A, B, C]),
        st.sampled_from(["there", "back"]),
    ),
    max_size=30,
)


@given(CAUSES)
def test_a_session_is_detected_exactly_when_it_lives_and_both_nodes_are_outside(
    causes: list[tuple[str, Session, object, str]],
):
    detector, flows, outside = Detector[str](), set[tuple[Session, str]](), set[object]()
    told = set[Session]()
    for cause, session, node, flow in causes:
        detected: list[Session] = []
        match cause:
            case "flow_seen":
                flows.add((session, flow))
                detected = detector.flow_seen(session, flow)
            case "flow_ended":
                flows.discard((session, flow))
                detector.flow_ended(session, flow)
            case "node_left":
                outside.add(node)
                detected = detector.node_left(node)  # type: ignore[arg-type]
            case _:
                outside.discard(node)
                detector.node_returned(node)  # type: ignore[arg-type]
        assert not told & set(detected)
        told.update(detected)
        wanted = {s for s, _ in flows if {s.first, s.second} <= outside}
        told &= wanted
        assert told == wanted


@given(CAUSES)
def test_each_session_meets_one_of_two_triggers_first_and_both_take_what_either_takes(
    causes: list[tuple[str, Session, object, str]],
):
    detectors = {trigger: Detector[str](trigger) for trigger in Trigger}
    for cause, session, node, flow in causes:
        known = {t: {s for s in (AB, AC, BC) if d.was_detected(s)} for t, d in detectors.items()}
        found = dict[Trigger, set[Session]]()
        for trigger, detector in detectors.items():
            detected: list[Session] = []
            match cause:
                case "flow_seen":
                    detected = detector.flow_seen(session, flow)
                case "flow_ended":
                    detector.flow_ended(session, flow)
                case "node_left":
                    detected = detector.node_left(node)  # type: ignore[arg-type]
                case _:
                    detector.node_returned(node)  # type: ignore[arg-type]
            found[trigger] = set(detected)
        exists, begins = found[Trigger.SESSION], found[Trigger.INITIATION]
        assert found[Trigger.BOTH] == exists | begins
        assert exists & begins <= known[Trigger.SESSION] | known[Trigger.INITIATION]
