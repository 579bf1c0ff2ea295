"""Scenarios: what happens in a run, written as TOML and checked before anything boots."""

import re
import tomllib
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from experiments.limits import udp_payload_bytes
from experiments.probe_format import SMALLEST_BYTES, USUAL_BYTES
from mobivpn.ipsec.sa import EspAlgorithm
from mobivpn.variants import (
    BestPath,
    Embodiment,
    GatewayBinding,
    InsideAuthentication,
    KeyScheme,
    Notice,
    System,
    Trigger,
    Variants,
    VcmAssociation,
    VcmPlace,
)
from topologies.addresses import MOST_NODES, USUAL_NODES, Plan, node_name, plan_of

SCENARIOS = Path(__file__).parent / "scenarios"
STUDIES = Path(__file__).parent / "study"
"""Scenarios that studies change, each named as its study."""

OF_MOBIVPN = (
    "experiment",
    "algorithm",
    "given_algorithm",
    "offers",
    "binding_auth",
    "handover",
    "agent_delay_ms",
    "signalling_loss_percent",
    "bulk",
)
"""Keys of a scenario, beside the variants, that are for the seed's own system alone."""


def _is_a_node(name: str) -> str:
    if not _NODE.fullmatch(name):
        raise ValueError(f"'{name}' is no mobile node; they are called mn1, mn2, and so on")
    return name


_NODE = re.compile(r"mn[1-9][0-9]{0,2}")
Node = Annotated[str, AfterValidator(_is_a_node)]
Network = Literal["lan", "wifi1", "wifi2", "cell", "eve"]
Attach = Literal["replug", "new"]
PayloadBytes = Annotated[int, Field(ge=SMALLEST_BYTES, le=udp_payload_bytes())]
GapMs = Annotated[float, Field(ge=0, le=60_000)]
OverlapMs = Annotated[float, Field(ge=0, le=60_000)]


class ScenarioError(Exception):
    """A scenario is not there, or wrong; the text names file, key and what is allowed."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Link(_Model):
    """A link profile; the delay is one way, and a rate of 0 is no limit."""

    delay_ms: Annotated[float, Field(ge=0, le=10_000)] | None = None
    rate_mbit: Annotated[float, Field(ge=0, le=100_000)] | None = None
    loss_percent: Annotated[float, Field(ge=0, le=100)] | None = None


class Links(_Model):
    """What differs from the default links (docs/reference/scenario.md)."""

    lan: Link = Link()
    sg: Link = Link()
    ha: Link = Link()
    wifi1: Link = Link()
    wifi2: Link = Link()
    cell: Link = Link()


class Traffic(_Model):
    """What nodes send to each other, from `start_s` to `stop_s` (None: to the end).

    `between` are the two nodes under test; the pairs in `also_between` talk, too. Probes have
    `payload_bytes` in turn. One way
    (`direction`), the first of a pair only sends (`forward`), or the second (`backward`).
    """

    between: tuple[Node, Node] = ("mn1", "mn2")
    also_between: tuple[tuple[Node, Node], ...] = ()
    direction: Literal["both", "forward", "backward"] = "both"
    start_s: Annotated[float, Field(ge=0)] = 0.0
    stop_s: Annotated[float, Field(gt=0)] | None = None
    probe_interval_ms: Annotated[float, Field(gt=0, le=1000)] = 5.0
    payload_bytes: Annotated[tuple[PayloadBytes, ...], Field(min_length=1)] = (USUAL_BYTES,)
    tcp: bool = False

    @model_validator(mode="after")
    def _different_pairs(self) -> "Traffic":
        known: set[frozenset[Node]] = set()
        for key, pair in (
            ("between", self.between),
            *(("also_between", pair) for pair in self.also_between),
        ):
            if pair[0] == pair[1]:
                raise ValueError(f"{key}: name two different nodes")
            if frozenset(pair) in known:
                raise ValueError(f"{key}: {' and '.join(pair)} talk already")
            known.add(frozenset(pair))
        if self.stop_s is not None and self.stop_s <= self.start_s:
            raise ValueError(f"stop_s: not after start_s {self.start_s:g}")
        return self

    @property
    def pairs(self) -> tuple[tuple[Node, Node], ...]:
        """All pairs that talk, the one under test first."""
        return (self.between, *self.also_between)


class Move(_Model):
    """At `at_s` after the first probe, take a node from its network to another.

    `gap_ms` is the time without a link; `attach` says whether its interface is plugged over or a
    new one made. In a soft handover it has both links for `overlap_ms` instead.
    """

    at_s: Annotated[float, Field(gt=0)]
    node: Node
    to: Network
    gap_ms: GapMs = 20.0
    attach: Attach = "replug"
    overlap_ms: OverlapMs = 500.0


class Handovers(_Model):
    """Handovers that are drawn from the seed, one after another (`experiments.handover`).

    From the moment when one is complete, the next one lets as much time pass as is drawn from
    `pause_s` (shortest, longest).
    """

    runs: Annotated[int, Field(ge=1, le=100_000)] = 20
    pause_s: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(le=3600)]] = (0.2, 0.8)
    gap_ms: GapMs = 20.0
    attach: Attach = "replug"
    overlap_ms: OverlapMs = 500.0

    @model_validator(mode="after")
    def _shortest_first(self) -> "Handovers":
        if self.pause_s[0] > self.pause_s[1]:
            raise ValueError("pause_s: name the shortest first")
        return self


class Bulk(_Model):
    """Transfers by iperf3 when the walk is over, from the first node under test to the second.

    First for `tcp_s` as fast as TCP can, then for `udp_s` at `udp_share` of what headers leave of
    the links' rates (`experiments.limits`). iperf3 takes whole seconds.
    """

    tcp_s: Annotated[int, Field(ge=1, le=3600)]
    udp_s: Annotated[int, Field(ge=1, le=3600)]
    udp_share: Annotated[float, Field(gt=0, le=1)] = 0.95


def _each_once(algorithms: tuple[EspAlgorithm, ...]) -> tuple[EspAlgorithm, ...]:
    if len(set(algorithms)) != len(algorithms):
        raise ValueError("name each algorithm once")
    return algorithms


Algorithms = Annotated[tuple[EspAlgorithm, ...], Field(min_length=1), AfterValidator(_each_once)]


class Scenario(_Model):
    """One run.

    There are `mobile_nodes`, mn1 to mnN; `start` says where some of them are at the beginning, the
    others are inside. `algorithm` is the only one that nodes offer for their direct pairs; `offers`
    says it for single nodes; `given_algorithm` is that of the associations that are there
    beforehand, such as MN-SG. `binding_auth` says what authorises the bindings between the nodes:
    return routability, or keys that come with each pair (RFC 4449). `handover` says how nodes find
    their next place: the old link goes first, and they ask for routers and use their care-of
    address at once (hard); from one access network to another, the new link comes first (soft); or,
    hard, they wait until a router advertises itself and until nobody has objected to the address
    (classic). A walk lasts for `duration_s` and has its moves written down; the experiment
    `handover` draws them and ends after the last.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    summary: str
    experiment: Literal["walk", "handover"] = "walk"
    system: System = System.MOBIVPN
    embodiment: Annotated[Embodiment, BeforeValidator(str)] = Embodiment.PRIVATE
    sg_binding: GatewayBinding = GatewayBinding.YES
    vcm_sa: VcmAssociation = VcmAssociation.NESTED
    vcm_at: VcmPlace = VcmPlace.OWN
    keys: KeyScheme = KeyScheme.SEPARATE
    trigger: Trigger = Trigger.BOTH
    notice: Notice = Notice.SEPARATE
    inside_auth: InsideAuthentication = InsideAuthentication.NONE
    best_path: BestPath = BestPath.DIRECT
    algorithm: EspAlgorithm | None = None
    given_algorithm: EspAlgorithm = EspAlgorithm.AES256GCM16
    offers: dict[Node, Algorithms] = {}
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    binding_auth: Literal["rr", "static"] = "rr"
    handover: Literal["hard", "soft", "classic"] = "hard"
    agent_delay_ms: Annotated[float, Field(ge=0, le=1000)] = 0.0
    signalling_loss_percent: Annotated[float, Field(ge=0, lt=100)] = 0.0
    duration_s: Annotated[float, Field(gt=0, le=86_400)] | None = None
    limit_s: Annotated[float, Field(gt=0)] = 900.0
    links: Links = Links()
    mobile_nodes: Annotated[int, Field(ge=2, le=MOST_NODES)] = USUAL_NODES
    start: dict[Node, Network] = {}
    traffic: Traffic = Traffic()
    move: tuple[Move, ...] = ()
    handovers: Handovers | None = None
    bulk: Bulk | None = None

    @model_validator(mode="after")
    def _names_nodes_that_there_are(self) -> "Scenario":
        named = (
            *(("start", name) for name in self.start),
            *(("offers", name) for name in self.offers),
            *(("traffic.between", name) for name in self.traffic.between),
            *(("traffic.also_between", n) for pair in self.traffic.also_between for n in pair),
            *((f"move {number}", move.node) for number, move in enumerate(self.move, 1)),
        )
        known = self.place_at_start
        for key, name in named:
            if name not in known:
                raise ValueError(f"{key}: {self.no_such_node(name)}")
        return self

    @model_validator(mode="after")
    def _of_its_experiment(self) -> "Scenario":
        walk, of_its_kind = self.experiment == "walk", f"an experiment '{self.experiment}'"
        for key, needed in (("duration_s", walk), ("handovers", not walk)):
            if (getattr(self, key) is not None) != needed:
                raise ValueError(f"{key}: {'needed' if needed else 'not allowed'} in {of_its_kind}")
        if not walk:
            unused = (
                ("move", self.move),
                ("start", any(network != "lan" for network in self.start.values())),
                ("traffic.also_between", self.traffic.also_between),
                ("traffic.stop_s", self.traffic.stop_s),
                ("bulk", self.bulk),
            )
            for key, given in unused:
                if given:
                    raise ValueError(f"{key}: not allowed in {of_its_kind}")
        for key in ("start_s", "stop_s"):
            at_s = getattr(self.traffic, key)
            if None not in (at_s, self.duration_s) and at_s >= self.duration_s:
                raise ValueError(
                    f"traffic.{key}: {at_s:g} is not before duration_s {self.duration_s:g}"
                )
        return self

    @model_validator(mode="after")
    def _no_contradiction(self) -> "Scenario":
        direct = self.vcm_sa is VcmAssociation.DIRECT
        if direct and self.embodiment is Embodiment.PRIVATE:
            raise ValueError(
                "vcm_sa: 'direct' contradicts embodiment '1': nobody outside routes its private "
                "addresses, the MN-SG association carries them"
            )
        if direct and self.vcm_at is VcmPlace.GATEWAY:
            raise ValueError(
                "vcm_sa: 'direct' contradicts vcm_at 'sg': a VCM in sg has no association of its "
                "own with the nodes, the MN-SG ones carry its messages"
            )
        if direct and self.sg_binding is GatewayBinding.NO:
            raise ValueError(
                "sg_binding: 'no' contradicts vcm_sa 'direct': sg would hear of a node outside by "
                "its MN-SG association alone, and what the node tells the VCM goes beside that"
            )
        return self

    @model_validator(mode="after")
    def _nothing_that_the_best_path_leaves_unused(self) -> "Scenario":
        best = self.best_path
        if self.binding_auth == "static" and not best.has_bindings:
            raise ValueError(
                f"binding_auth: 'static' contradicts best_path '{best.value}': nodes have no "
                "bindings with each other then, and no use for keys of them"
            )
        if self.keys is not KeyScheme.SEPARATE and not best.has_pairs:
            raise ValueError(
                f"keys: '{self.keys.value}' contradicts best_path '{best.value}': the VCM makes no "
                "pair then, and no keys"
            )
        return self

    @model_validator(mode="after")
    def _nothing_that_another_system_has_not(self) -> "Scenario":
        if not self.system.is_foreign:
            return self
        if self.best_path is BestPath.VIA_HOME_AGENTS:
            raise ValueError(self._contradicts_system("best_path", "it is one of mobivpn's own"))
        if self.best_path is BestPath.VIA_GATEWAY and not self.system.is_hub:
            raise ValueError(self._contradicts_system("best_path", "there is no gateway"))
        ours = (field for field in fields(Variants) if field.name not in ("system", "best_path"))
        defaults = {
            **{field.name: field.default for field in ours},
            **{key: type(self).model_fields[key].default for key in OF_MOBIVPN},
        }
        for key, default in defaults.items():
            if getattr(self, key) != default:
                raise ValueError(self._contradicts_system(key, "it is an option of mobivpn's own"))
        if self.traffic.tcp:
            raise ValueError(
                f"traffic.tcp: contradicts system '{self.system.value}': segments in its tunnel "
                "cannot be told apart"
            )
        if self.visits_eve:
            raise ValueError(
                f"move: a node goes to eve, and system '{self.system.value}' has nothing to tell "
                "eve's network from the inside by"
            )
        return self

    def _contradicts_system(self, key: str, why: str) -> str:
        value = getattr(self, key)
        value = getattr(value, "value", value)
        told = f"'{value}' " if isinstance(value, str | float) else ""
        return f"{key}: {told}contradicts system '{self.system.value}': {why}"

    @model_validator(mode="after")
    def _bulk_has_a_path(self) -> "Scenario":
        if self.bulk is not None and self.trigger is not Trigger.BOTH:
            raise ValueError(
                f"trigger: '{self.trigger.value}' contradicts the table [bulk]: its transfers are "
                "of sessions that are there before both nodes are outside, and of new ones"
            )
        if self.bulk is not None and any(link.rate_mbit == 0 for _, link in self.links):
            raise ValueError("bulk: not allowed where a link has no rate: nothing limits TCP then")
        if self.bulk is not None and self.visits_eve:
            raise ValueError("bulk: not allowed where a node goes to eve: nothing gets through")
        return self

    @model_validator(mode="after")
    def _one_word_on_algorithms(self) -> "Scenario":
        if self.algorithm is not None and self.offers:
            raise ValueError(
                f"algorithm: {self.algorithm.value} for all nodes contradicts the table [offers], "
                f"which speaks for {' and '.join(self.offers)}; leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _moves_make_sense(self) -> "Scenario":
        at = self.place_at_start
        free_at: dict[str, float] = {}
        last = 0.0
        for number, move in enumerate(self.move, 1):
            if move.at_s < last:
                raise ValueError(f"move {number}: at_s {move.at_s} comes before the move above it")
            if move.to == at[move.node]:
                raise ValueError(f"move {number}: {move.node} is on {move.to} already")
            if self.duration_s is not None and move.at_s >= self.duration_s:
                raise ValueError(f"move {number}: at_s is not before duration_s {self.duration_s}")
            if move.at_s <= free_at.get(move.node, 0.0):
                raise ValueError(
                    f"move {number}: at_s {move.at_s} is not after the end of {move.node}'s last "
                    f"move"
                )
            soft = self.is_soft(at[move.node], move.to)
            lasts_ms = move.overlap_ms if soft else move.gap_ms
            free_at[move.node] = move.at_s + lasts_ms / 1000
            at[move.node], last = move.to, move.at_s
        return self

    def no_such_node(self, name: str) -> str:
        """Say that there is no mobile node of that name, and which there are."""
        return (
            f"there is no {name}: mobile_nodes is {self.mobile_nodes}, {node_name(1)} to "
            f"{node_name(self.mobile_nodes)}"
        )

    @property
    def place_at_start(self) -> dict[str, str]:
        """Where each mobile node is at the beginning."""
        names = map(node_name, range(1, self.mobile_nodes + 1))
        return {name: self.start.get(name, "lan") for name in names}

    @property
    def plan(self) -> Plan:
        """The addresses of all hosts, with so many mobile nodes as there are."""
        return plan_of(self.variants, self.mobile_nodes)

    @property
    def variants(self) -> Variants:
        """Which of the seed's systems this is; a hub with spokes has no better path."""
        own = Variants(**{field.name: getattr(self, field.name) for field in fields(Variants)})
        return replace(own, best_path=BestPath.VIA_GATEWAY) if self.system.is_hub else own

    def algorithms_of(self, node: str) -> tuple[EspAlgorithm, ...]:
        """Return what a node offers for its direct pairs."""
        if self.algorithm is not None:
            return (self.algorithm,)
        return self.offers.get(node, tuple(EspAlgorithm))

    def is_soft(self, origin: str, target: str) -> bool:
        """Tell whether a move overlaps: one to or from the LAN, where all is in clear, never.

        Nor one of eve's network, which pretends to be the LAN.
        """
        return self.handover == "soft" and not {"lan", "eve"} & {origin, target}

    @property
    def visits_eve(self) -> bool:
        """Whether a node is plugged into eve's network."""
        return any(move.to == "eve" for move in self.move)


def load(name_or_path: str, overrides: dict[str, Any] | None = None) -> Scenario:
    """Return the scenario of that name, or in that file, with `overrides`.

    Of a table, an override changes only the keys that it names. Raises ScenarioError in one line.
    """
    path, data = read(name_or_path, SCENARIOS, "experiment")
    return checked(path, data, overrides or {})


def read(name_or_path: str, folder: Path, kind: str) -> tuple[Path, dict[str, Any]]:
    """Return path and contents of a TOML file: the one of that name in `folder`, or the one given.

    `kind` is what such files are called. Raises ScenarioError in one line.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = folder / f"{name_or_path}.toml"
        if not path.is_file():
            folders = (folder, STUDIES) if folder == SCENARIOS else (folder,)
            known = ", ".join(sorted(p.stem for one in folders for p in one.glob("*.toml")))
            raise ScenarioError(
                f"no {kind} is called '{name_or_path}'; there are: {known} "
                f"(or name a file that ends in .toml)"
            )
    try:
        return path, tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: not UTF-8 text at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{path}: {error}") from error


def checked(path: Path, data: dict[str, Any], overrides: dict[str, Any]) -> Scenario:
    """Return the scenario that a file's contents are with `overrides`; see `load`."""
    try:
        return Scenario.model_validate(_overridden(data, overrides))
    except ValidationError as error:
        raise ScenarioError(f"{path}: {first_error(error)}") from error


def _overridden(data: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    merged = dict(data)
    for key, value in overrides.items():
        table = data.get(key)
        if isinstance(table, dict) and isinstance(value, dict):
            merged[key] = _overridden(table, value)
        else:
            merged[key] = value
    return merged


OF_A_TABLE = "[key]"
"""What pydantic adds to the place of a key of a table whose keys are a user's."""


def first_error(error: ValidationError, root: type[BaseModel] = Scenario) -> str:
    """Return the first thing that is wrong in a `root`: the key, what it was, what is allowed."""
    # An unknown key says more than the key that is missed because of it.
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    key = ""
    for part in first["loc"]:
        if part == OF_A_TABLE:
            continue
        key += f" {part + 1}" if isinstance(part, int) else f"{'.' if key else ''}{part}"
    allowed = ""
    if first["type"] == "extra_forbidden":
        model = root
        for part in first["loc"][:-1]:
            field = model.model_fields.get(str(part))
            nested = _model_in(field.annotation) if field is not None else None
            model = nested or model
        allowed = f"; allowed here: {', '.join(model.model_fields)}"
    message = first["msg"].removeprefix("Value error, ")
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{key + ': ' if key else ''}{message}{allowed}{more}"


def _model_in(annotation: Any) -> type[BaseModel] | None:
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
