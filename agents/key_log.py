"""Keys for whoever reads the captures: Wireshark's `esp_sa` table, as SSLKEYLOGFILE is for TLS."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from mobivpn.ipsec.sa import SecurityAssociation


def esp_sa_line(sa: SecurityAssociation) -> str:
    """Return one line of Wireshark's table (8 fields).

    Any address, because a binding changes them under way; a random SPI tells SAs apart. The key
    includes the 4-byte salt (RFC 4106 section 8.1), the authentication field may not be empty.
    """
    return (
        f'"IPv6","*","*","{int(sa.spi):#010x}",'
        f'"AES-GCM with 16 octet ICV [RFC4106]","0x{sa.key.hex()}","NULL",""\n'
    )


@dataclass(slots=True)
class KeyLog:
    """Appends each SA once to a file that only its owner can read; no path, no log."""

    path: Path | None
    _written: set[str] = field(default_factory=set)

    def add(self, sa: SecurityAssociation) -> None:
        """Log the key of `sa`."""
        line = esp_sa_line(sa)
        if self.path is None or line in self._written:
            return
        self._written.add(line)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(line)
