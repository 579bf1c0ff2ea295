"""The VPN connectivity manager: contexts of mobile nodes, and the SA pairs between them."""
