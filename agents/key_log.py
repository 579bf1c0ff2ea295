"""Keys for whoever reads the captures: Wireshark's `esp_sa` table, as SSLKEYLOGFILE is for TLS."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from mobivpn.ipsec.sa import EspAlgorithm, SecurityAssociation

AES_GCM = "AES-GCM with 16 octet ICV [RFC4106]"
AES_CBC = "AES-CBC [RFC3602]"
ENCRYPTION = {
    EspAlgorithm.AES256GCM16: AES_GCM,
    EspAlgorithm.AES128GCM16: AES_GCM,
    EspAlgorithm.CHACHA20POLY1305: "ChaCha20 with Poly1305 [RFC7634]",
    EspAlgorithm.AES256_SHA256: AES_CBC,
    EspAlgorithm.AES128_SHA256: AES_CBC,
}
"""Wireshark's names; tshark 4.0 knows no ChaCha20 in ESP, and passes over such a line."""
NO_INTEGRITY, HMAC_SHA256 = "NULL", "HMAC-SHA-256-128 [RFC4868]"


def esp_sa_line(sa: SecurityAssociation) -> str:
    """Return one line of Wireshark's table (8 fields).

    Any address, because a binding changes them under way; a random SPI tells SAs apart. The key
    includes the 4-byte salt, if there is one; the authentication field may not be empty.
    """
    its = sa.algorithm.transform
    encryption = sa.key[: its.key_bytes + its.salt_bytes]
    integrity = sa.key[len(encryption) :]
    return (
        f'"IPv6","*","*","{int(sa.spi):#010x}",'
        f'"{ENCRYPTION[sa.algorithm]}","0x{encryption.hex()}",'
        + (f'"{HMAC_SHA256}","0x{integrity.hex()}"\n' if integrity else f'"{NO_INTEGRITY}",""\n')
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
