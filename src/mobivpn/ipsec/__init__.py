"""SAD and SPD entries in the terms of RFC 4301 and RFC 9061 (IKE-less case)."""
