"""Decrypt ESP (RFC 4303 with AES-GCM, RFC 4106) by the keys of a run, in Wireshark's `esp_sa`."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from experiments.errors import ResultError

ENCRYPTIONS = ("AES-GCM with 16 octet ICV [RFC4106]", "AES-GCM [RFC4106]")
"""Wireshark's names. By the second, tshark 4.0 takes the ICV for payload and finds no trailer."""
SALT_BYTES = 4
HEADER_BYTES = 8
IV_BYTES = 8
ICV_BYTES = 16
COLUMNS = (8, 10)
"""Fields of a line: 8 up to Wireshark 4.4, 10 from 4.5 (sequence number length, upper half)."""


@dataclass(slots=True)
class EspKey:
    """One simplex SA as a reader of captures needs it; `extended` is learnt from the first packet.

    With extended sequence numbers the additional authenticated data has their upper half between
    SPI and sequence number (RFC 4106 section 5). It is taken as 0: a run is far from 2^32 packets.
    """

    spi: int
    cipher: AESGCM = field(repr=False)
    salt: bytes = field(repr=False)
    extended: bool = True

    def decrypt(self, esp: bytes) -> bytes | None:
        """Return plaintext with trailer, or None when the tag does not verify."""
        nonce = self.salt + esp[HEADER_BYTES : HEADER_BYTES + IV_BYTES]
        sealed = esp[HEADER_BYTES + IV_BYTES :]
        for extended in (self.extended, not self.extended):
            middle = bytes(4) if extended else b""
            try:
                plain = self.cipher.decrypt(nonce, sealed, esp[:4] + middle + esp[4:HEADER_BYTES])
            except InvalidTag:
                continue
            self.extended = extended
            return plain
        return None


class EspKeys:
    """All keys of a run by SPI; two SAs may share an SPI, the tag tells which one it was."""

    def __init__(self, keys: Iterable[EspKey]) -> None:
        self._keys_by_spi: dict[int, list[EspKey]] = {}
        for key in keys:
            self._keys_by_spi.setdefault(key.spi, []).append(key)

    def __len__(self) -> int:
        return sum(len(keys) for keys in self._keys_by_spi.values())

    def decrypt(self, esp: bytes) -> tuple[int, bytes] | None:
        """Return (next header, payload) of an ESP packet from its SPI on.

        None when no key fits, the tag does not verify or the trailer is impossible.
        """
        if len(esp) < HEADER_BYTES + IV_BYTES + ICV_BYTES + 2:
            return None
        for key in self._keys_by_spi.get(int.from_bytes(esp[:4], "big"), ()):
            plain = key.decrypt(esp)
            if plain is not None:
                padding, next_header = plain[-2], plain[-1]
                if padding + 2 > len(plain):
                    return None
                return next_header, plain[: len(plain) - 2 - padding]
        return None


def read_esp_sa(path: Path) -> EspKeys:
    """Read a `keys/esp_sa` file; raise ResultError for a line that is not an AES-GCM SA."""
    try:
        text = path.read_text(encoding="ascii")
    except OSError as error:
        raise ResultError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ResultError(f"{path}: damaged (not ASCII text)") from error
    keys = []
    for number, row in enumerate(csv.reader(text.splitlines(), strict=True), start=1):
        if not row or row[0].startswith("#"):
            continue
        try:
            keys.append(_key(row))
        except ValueError as error:
            raise ResultError(f"{path}, line {number}: {error}") from error
    return EspKeys(keys)


def _key(row: list[str]) -> EspKey:
    if len(row) not in COLUMNS:
        raise ValueError(f"{len(row)} fields instead of 8 or 10")
    if row[4] not in ENCRYPTIONS:
        raise ValueError(f"encryption {row[4]!r} instead of {ENCRYPTIONS[0]!r}")
    material = bytes.fromhex(row[5].removeprefix("0x"))
    return EspKey(int(row[3], 0), AESGCM(material[:-SALT_BYTES]), material[-SALT_BYTES:])
