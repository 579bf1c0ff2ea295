"""Mobile IPv6 (RFC 6275) for the roles mobile node, correspondent node and home agent, sans-I/O."""
