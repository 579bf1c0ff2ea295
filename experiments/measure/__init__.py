"""Figures derived from captures and from what the end points of the traffic logged."""
