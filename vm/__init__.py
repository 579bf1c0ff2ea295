"""The lab VM: a kernel with all that the lab needs, booted from the host's own files."""
