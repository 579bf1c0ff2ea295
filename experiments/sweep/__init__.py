"""Sweeps: one scenario over many parameters and seeds, each run once, into one table."""
