"""Figure 1 as a Mininet network: addresses, links, nodes, and how a node changes its place."""
