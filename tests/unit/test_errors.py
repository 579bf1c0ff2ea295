"""The exception tree (mobivpn.errors)."""

from mobivpn.errors import MalformedError, PeerError


def test_a_peers_fault_says_its_reason_and_what_was_seen():
    assert str(MalformedError("truncated", "7 of 8 bytes")) == "truncated: 7 of 8 bytes"
    assert str(PeerError("replayed")) == "replayed"
    assert PeerError("replayed", "x").reason == "replayed"
