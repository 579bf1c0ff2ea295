"""What a host that stands in for absent nodes needs of its kernel (RFC 6275 section 10.4.1)."""

from pathlib import Path


def proxy_at_once(device: str) -> None:
    """Let the kernel answer for absent nodes, and without the random delay of RFC 4861 7.2.8."""
    Path(f"/proc/sys/net/ipv6/conf/{device}/proxy_ndp").write_text("1")
    Path(f"/proc/sys/net/ipv6/neigh/{device}/proxy_delay").write_text("0")


def hardware_address(device: str) -> bytes:
    """Return the link-layer address of a device."""
    text = Path(f"/sys/class/net/{device}/address").read_text()
    return bytes.fromhex(text.strip().replace(":", ""))
