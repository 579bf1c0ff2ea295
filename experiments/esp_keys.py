"""Decrypt ESP (RFC 4303) by the keys of a run, in Wireshark's `esp_sa`."""

import csv
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from experiments.errors import ResultError

AES_GCM = ("AES-GCM with 16 octet ICV [RFC4106]", "AES-GCM [RFC4106]")
"""Wireshark's names. By the second, tshark 4.0 takes the ICV for payload and finds no trailer."""
CHACHA20 = "ChaCha20 with Poly1305 [RFC7634]"
AES_CBC, HMAC_SHA256 = "AES-CBC [RFC3602]", "HMAC-SHA-256-128 [RFC4868]"
ENCRYPTIONS = (*AES_GCM, CHACHA20, AES_CBC)
SALT_BYTES = 4
HEADER_BYTES = 8
ICV_BYTES = 16
COLUMNS = (8, 10)
"""Fields of a line: 8 up to Wireshark 4.4, 10 from 4.5 (sequence number length, upper half)."""


class Opener(Protocol):
    """Opens what one SA has sealed; `extended` tells of extended sequence numbers.

    Their upper half is authenticated, and not sent. It is taken as 0: a run is far from 2^32
    packets.
    """

    def open(self, esp: bytes, extended: bool) -> bytes | None:
        """Return plaintext with trailer, or None when the packet is not authentic."""
        ...


@dataclass(frozen=True, slots=True)
class Combined:
    """AES-GCM (RFC 4106) and ChaCha20-Poly1305 (RFC 7634)."""

    cipher: AESGCM | ChaCha20Poly1305 = field(repr=False)
    salt: bytes = field(repr=False)

    IV_BYTES = 8

    def open(self, esp: bytes, extended: bool) -> bytes | None:
        """Put the upper half between SPI and sequence number (RFC 4106 section 5)."""
        payload = HEADER_BYTES + self.IV_BYTES
        nonce = self.salt + esp[HEADER_BYTES:payload]
        upper = bytes(4) if extended else b""
        try:
            return self.cipher.decrypt(nonce, esp[payload:], esp[:4] + upper + esp[4:HEADER_BYTES])
        except InvalidTag:
            return None


@dataclass(frozen=True, slots=True)
class CbcWithHmac:
    """AES-CBC (RFC 3602) with HMAC-SHA-256-128 (RFC 4868)."""

    cipher: algorithms.AES = field(repr=False)
    integrity_key: bytes = field(repr=False)

    IV_BYTES = 16

    def open(self, esp: bytes, extended: bool) -> bytes | None:
        """Append the upper half to what is authenticated (RFC 4303 section 2.2.1)."""
        covered, icv = esp[:-ICV_BYTES], esp[-ICV_BYTES:]
        upper = bytes(4) if extended else b""
        tag = hmac.digest(self.integrity_key, covered + upper, sha256)[:ICV_BYTES]
        payload = HEADER_BYTES + self.IV_BYTES
        if not hmac.compare_digest(tag, icv) or len(covered) % self.IV_BYTES != HEADER_BYTES:
            return None
        decryptor = Cipher(self.cipher, modes.CBC(esp[HEADER_BYTES:payload])).decryptor()
        return decryptor.update(covered[payload:]) + decryptor.finalize()


@dataclass(slots=True)
class EspKey:
    """One simplex SA as a reader of captures needs it; its first packet tells `extended`."""

    spi: int
    opener: Opener = field(repr=False)
    extended: bool = True

    def decrypt(self, esp: bytes) -> bytes | None:
        """Return plaintext with trailer, or None when the packet is not authentic."""
        for extended in (self.extended, not self.extended):
            plain = self.opener.open(esp, extended)
            if plain is not None:
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

        None when no key fits, the packet is not authentic or the trailer is impossible.
        """
        if len(esp) < HEADER_BYTES + Combined.IV_BYTES + ICV_BYTES + 2:
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
    """Read a `keys/esp_sa` file; raise ResultError for a line that is not of an SA."""
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
    material = bytes.fromhex(row[5].removeprefix("0x"))
    return EspKey(int(row[3], 0), _opener(row[4], material, row[6], row[7]))


def _opener(encryption: str, material: bytes, integrity: str, integrity_key: str) -> Opener:
    if encryption == AES_CBC:
        if integrity != HMAC_SHA256:
            raise ValueError(f"authentication {integrity!r} instead of {HMAC_SHA256!r}")
        key = bytes.fromhex(integrity_key.removeprefix("0x"))
        return CbcWithHmac(algorithms.AES(material), key)
    key, salt = material[:-SALT_BYTES], material[-SALT_BYTES:]
    if encryption in AES_GCM:
        return Combined(AESGCM(key), salt)
    if encryption == CHACHA20:
        return Combined(ChaCha20Poly1305(key), salt)
    known = ", ".join(map(repr, ENCRYPTIONS))
    raise ValueError(f"encryption {encryption!r} is none of {known}")
