"""The session detector of the security gateway: packet headers in, flow rules and 202 out."""
