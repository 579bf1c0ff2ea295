"""Experiments: a script each, from topology and movements to figures read from packets."""
