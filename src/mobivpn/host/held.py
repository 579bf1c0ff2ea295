"""What a host's kernel holds of what its core wants of it."""

from mobivpn.host.effects import Apply
from mobivpn.ipsec.databases import Databases, difference


class Held:
    """Nothing at first; `become` tells what leads from there to what is wanted."""

    def __init__(self) -> None:
        self._databases: Databases = ()

    def become(self, wanted: Databases, token: str | None = None) -> list[Apply]:
        """Return the change to `wanted`, nothing if there is none; with a token, in any case."""
        changes = difference(self._databases, wanted)
        self._databases = wanted
        return [Apply(changes, token)] if changes or token is not None else []
