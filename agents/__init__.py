"""One program per role of the seed's figure 1, each in its host: `python -m agents.ROLE FILE`."""
