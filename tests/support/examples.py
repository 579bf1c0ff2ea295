"""How many examples of Hypothesis a test of a whole network tries: a share of the profile's."""

from hypothesis import settings


def share(part: float) -> settings:
    """Return settings with `part` of the profile's examples, one at least."""
    return settings(max_examples=max(1, round(settings.default.max_examples * part)))
