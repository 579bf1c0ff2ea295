"""The Ryu application of the gateway's switch: OpenFlow event in, flow rule out, no decision."""
