"""Other VPNs to compare with: a hub at sg, the mobile nodes as spokes, on the same network."""
