"""Sequence numbers of binding updates, modulo 2^16 (RFC 6275 section 9.5.1)."""

MODULUS = 2**16
WINDOW = MODULUS // 2


def successor(sequence: int) -> int:
    """Return the next sequence number."""
    return (sequence + 1) % MODULUS


def is_newer(sequence: int, last: int) -> bool:
    """Tell whether `sequence` is ahead of `last`: not `last` itself, nor of the 32768 before it."""
    return 0 < (sequence - last) % MODULUS < WINDOW
