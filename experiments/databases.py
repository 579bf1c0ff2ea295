"""The kernels' own SAD and SPD, as `ip xfrm` dumped them.

A dump is databases/<moment>-<node>.txt: `ip -6 xfrm state list nokeys`, then `ip -6 xfrm policy
list`. Only fields named here are copied, so a key that stood in a dump would still not be shown.
"""

import re
from dataclasses import dataclass
from pathlib import Path

_BEFORE_MOVE = re.compile(r"before-move-(\d+)")
_ASSOCIATION = re.compile(r"^\s+proto (\S+)(?: spi (0x[0-9a-f]+))?.*? mode (\S+)", re.MULTILINE)
_SELECTOR = re.compile(r"^\s+sel src (\S+) dst (\S+) ?(.*)$", re.MULTILINE)
_ALGORITHM = re.compile(r"^\s+(?:aead|enc|auth-trunc) (\S+)", re.MULTILINE)
_WINDOW = re.compile(r"replay[-_]window (\d+)")
_CARE_OF = re.compile(r"^\s+coa (\S+)", re.MULTILINE)
_ENDS = re.compile(r"src (\S+) dst (\S+) ?(.*)")
_DIRECTION = re.compile(r"^\s+dir (\w+)(?: action (\w+))?.*? priority (\d+)", re.MULTILINE)
_TEMPLATE = re.compile(
    r"^\s+tmpl src (\S+) dst (\S+)\s*\n\s+proto (\S+)(?: spi \S+)?.*? mode (\S+)", re.MULTILINE
)
_FROM_KERNEL = {"block": "discard"}


@dataclass(frozen=True, slots=True)
class Association:
    """One entry of the SAD; for `hao` and `route2`, of the bindings that live in it."""

    source: str
    destination: str
    protocol: str
    spi: str
    mode: str
    algorithm: str
    window: str
    care_of_address: str
    selector: str

    @property
    def cells(self) -> tuple[str, ...]:
        more = f"care-of address {self.care_of_address}" if self.care_of_address else self.algorithm
        ends = f"{self.source} to {self.destination}"
        return (self.protocol, ends, self.spi, self.mode, more, self.window, self.selector)


@dataclass(frozen=True, slots=True)
class Policy:
    """One entry of the SPD."""

    direction: str
    priority: int
    selector: str
    action: str
    templates: tuple[str, ...]

    @property
    def cells(self) -> tuple[str, ...]:
        protection = "; then ".join(self.templates) or "none"
        return (self.direction, str(self.priority), self.selector, self.action, protection)


@dataclass(frozen=True, slots=True)
class Database:
    """What one node's kernel had at one moment."""

    moment: str
    node: str
    associations: tuple[Association, ...]
    policies: tuple[Policy, ...]


def read_databases(folder: Path) -> list[Database]:
    """Return the dumps of a folder, by moment in order of time, then by node."""
    found = []
    for path in folder.glob("*.txt"):
        moment, _, node = path.stem.rpartition("-")
        found.append(parse(moment, node, path.read_text(encoding="utf-8")))
    return sorted(found, key=lambda database: (_order(database.moment), database.node))


def _order(moment: str) -> tuple[int, int]:
    before = _BEFORE_MOVE.fullmatch(moment)
    return (1, int(before[1])) if before else ({"start": 0}.get(moment, 2), 0)


def parse(moment: str, node: str, text: str) -> Database:
    """Return what a dump says; lines that it does not know are left out."""
    associations: list[Association] = []
    policies: list[Policy] = []
    for block in re.split(r"^(?=src )", text, flags=re.MULTILINE):
        first, _, rest = block.partition("\n")
        ends = _ENDS.match(first)
        if ends is None:
            continue
        direction = _DIRECTION.search(rest)
        if direction is not None:
            policies.append(_policy(ends, direction, rest))
        elif (head := _ASSOCIATION.search(rest)) is not None:
            associations.append(_association(ends, head, rest))
    return Database(moment, node, tuple(associations), tuple(policies))


def _association(ends: re.Match[str], head: re.Match[str], rest: str) -> Association:
    protocol, spi, mode = head.groups()
    algorithms, care_of = _ALGORITHM.findall(rest), _CARE_OF.search(rest)
    selector = _SELECTOR.search(rest)
    windows = [int(window) for window in _WINDOW.findall(rest)]
    return Association(
        source=ends[1],
        destination=ends[2],
        protocol=protocol,
        spi=spi or "",
        mode=mode,
        algorithm=", ".join(algorithms),
        window=str(max(windows)) if protocol in ("esp", "ah") and windows else "",
        care_of_address=care_of[1] if care_of else "",
        selector=_selector(*selector.groups()) if selector else "any",
    )


def _policy(ends: re.Match[str], direction: re.Match[str], rest: str) -> Policy:
    templates = tuple(
        f"{protocol} {mode}" + ("" if source == destination else f", {source} to {destination}")
        for source, destination, protocol, mode in _TEMPLATE.findall(rest)
    )
    action = direction[2] or ("protect" if templates else "bypass")
    return Policy(
        direction=direction[1],
        priority=int(direction[3]),
        selector=_selector(*ends.groups()),
        action=_FROM_KERNEL.get(action, action),
        templates=templates,
    )


def _selector(source: str, destination: str, more: str) -> str:
    if source == destination == "::/0" and not more.strip():
        return "any"
    return f"{source} to {destination} {more}".strip()
