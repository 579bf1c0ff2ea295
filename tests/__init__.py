"""Tests, by what they need: nothing (unit, simulation), tools (edges, interop), the lab."""
