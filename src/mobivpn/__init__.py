"""The protocol core of mobivpn: decisions only; sockets, clocks and randomness are at the edge."""
