"""Protocol constants (RFC 6275 section 12), in seconds unless the name says otherwise."""

INITIAL_BINDACK_TIMEOUT_S = 1.0
INITIAL_BINDACK_TIMEOUT_FIRST_REGISTRATION_S = 1.5
MAX_BINDACK_TIMEOUT_S = 32.0
MAX_NONCE_LIFETIME_S = 240.0
MAX_TOKEN_LIFETIME_S = 210.0
MAX_RR_BINDING_LIFETIME_S = 420
MAX_UPDATE_RATE = 3
"""Messages of one type to one node within one second (section 11.8)."""

LIFETIME_UNIT_S = 4
"""Binding lifetimes are carried in units of four seconds (section 6.1.7)."""
MAX_LIFETIME_S = 0xFFFF * LIFETIME_UNIT_S

RETRANS_TIMER_S = 1.0
"""How long an answer to a neighbour solicitation may take (RFC 4861 section 10)."""
