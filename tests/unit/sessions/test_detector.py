"""The cache of correspondents (mobivpn.sessions.detector)."""

from hypothesis import given
from hypothesis import strategies as st

from mobivpn.sessions.detector import Detector, Session
from tests.support.company import MN1, MN2, MN3

A, B, C = (node.internal_home_address for node in (MN1, MN2, MN3))
AB, AC = Session.between(A, B), Session.between(A, C)


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


CAUSES = st.lists(
    st.tuples(
        st.sampled_from(["flow_seen", "flow_ended", "node_left", "node_returned"]),
        st.sampled_from([AB, AC, Session.between(B, C)]),
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
