"""The protocol core of mobivpn: decisions only; every socket, clock and random number is at the edge."""
