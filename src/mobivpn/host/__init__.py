"""The roles of a host, sans I/O: every cause in, an ordered list of effects out."""
