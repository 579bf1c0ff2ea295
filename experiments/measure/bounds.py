"""Lower bounds: what the protocols need, with propagation delays alone (docs/schema.md, Bounds)."""

from dataclasses import dataclass
from enum import Enum

from experiments.measure.timeline import Move, MoveKind
from experiments.network_plan import INSIDE, NetworkPlan
from experiments.paths import OF_PAIRS, PacketPath


class Authorisation(Enum):
    """How the binding update of a handover to the peer was authorised, as packets show."""

    BOTH_TESTS = "home and care-of test"
    CARE_OF_TEST = "care-of test"
    """The home keygen token was still fresh (RFC 6275 section 5.2.7)."""
    NO_TEST = "none"
    """A key was there already (RFC 4449), or no direct session."""


@dataclass(frozen=True, slots=True)
class MoveBound:
    """Milliseconds from link down to the first arrival on the new path; the L2 gap is in it.

    None is needed (0) where the overlap of a soft handover is longer than what has to be done. To
    and from an attacker's network no packet has a way: there is no bound (None).
    """

    outbound_ms: float | None
    inbound_ms: float | None

    @property
    def worse_ms(self) -> float | None:
        if self.outbound_ms is None or self.inbound_ms is None:
            return None
        return max(self.outbound_ms, self.inbound_ms)


def move_bound(
    move: Move,
    peer_place: str,
    used: PacketPath,
    authorisation: Authorisation,
    plan: NetworkPlan,
    *,
    optimised: bool = False,
) -> MoveBound:
    """Return the bound of a move whose peer is at `peer_place`.

    `used` is the path that the pair was on when the link went down; `optimised`: what came through
    the gateway then was addressed to the node's own place on the LAN.
    """
    here, there, way = move.target, peer_place, plan.propagation_ms
    if {here, there} & plan.fake_networks.keys():
        return MoveBound(None, None)
    gap_ms = (move.up_ns - move.down_ns) / 1e6
    router = "r22" if here == INSIDE else here
    attached_ms = gap_ms + way(here, router, here)
    if move.kind is MoveKind.RETURNING:
        outbound, inbound = _returning(here, there, used in OF_PAIRS, plan)
    elif move.kind is MoveKind.HANDOVER and used is PacketPath.DIRECT:
        outbound, inbound = _direct_handover(here, there, authorisation, plan)
    elif move.kind is MoveKind.HANDOVER and used is PacketPath.VIA_HOME_AGENTS:
        outbound, inbound = way(here, "ha", there), way(here, "ha", here)
    elif move.kind is MoveKind.HANDOVER:
        told = "sg" if plan.binds_at_gateway else "ha"
        outbound, inbound = _by_gateway(here, there, plan), way(here, told, here)
    else:
        outbound = _by_gateway(here, there, plan)
        inbound = _leaving_inbound(here, there, plan, optimised=optimised)
    return MoveBound(max(0.0, attached_ms + outbound), max(0.0, attached_ms + inbound))


def _by_gateway(here: str, there: str, plan: NetworkPlan) -> float:
    """One way through the gateway: a packet may follow its binding update at once.

    Between two external nodes it goes by r22, which turns it round.
    """
    if there == INSIDE:
        return plan.propagation_ms(here, "sg", there)
    return plan.propagation_ms(here, *plan.turned_round, there)


def _leaving_inbound(here: str, there: str, plan: NetworkPlan, *, optimised: bool) -> float:
    """Binding update to sg, sg tells r22, r22 announces itself for the node, the next packet turns.

    A peer outside sends by way of r22 already, as all do to public addresses: there is nobody to
    announce anything to. But one that has sent to the node's address on the LAN has to be told. In
    another system the hub alone has to know.
    """
    if plan.tunnel_end is not None and there != INSIDE:
        return plan.propagation_ms(here, "sg", here)
    if optimised:
        return plan.propagation_ms(here, "sg", there, "sg", "r22", "sg", here)
    told = plan.propagation_ms(here, "sg", "r22")
    if there == INSIDE and not plan.is_public:
        told += plan.propagation_ms("r22", there, "r22")
    return told + plan.propagation_ms("r22", "sg", here)


def _direct_handover(
    here: str, there: str, authorisation: Authorisation, plan: NetworkPlan
) -> tuple[float, float]:
    """Outbound, through the home agent as soon as it has its binding update, or directly with one.

    Inbound, return routability as it was done, the binding update, the peer's first packet. The
    peer is mobile, and both tests go to its home address: through its home agent.
    """
    way = plan.propagation_ms
    test = way(here, "ha", there, "ha", here)
    tests = {
        Authorisation.BOTH_TESTS: test,
        Authorisation.CARE_OF_TEST: test,
        Authorisation.NO_TEST: 0.0,
    }[authorisation]
    outbound = min(way(here, "ha", there), tests + way(here, there))
    return outbound, tests + way(here, there, here)


def _returning(here: str, there: str, paired: bool, plan: NetworkPlan) -> tuple[float, float]:
    """Outbound, plain; inbound, whatever must be undone for the peer's packets to come inside.

    Peer inside: the node's own advertisement, then the peer's packet; with public addresses, sg and
    r22 are told first where the node is. Peer outside: sg hears of it (binding update, or a
    packet); if the peer used an SA pair, the VCM orders it back and its packets take the
    gateway; else r22 is told, where they already pass.
    """
    way = plan.propagation_ms
    if there == INSIDE:
        told = way(here, "sg", "r22", here) if plan.is_public else way(here, there, here)
        return way(here, there), told
    outbound = way(here, "r22", "sg", there)
    heard = way(here, "sg")
    if paired:
        ordered = way("sg", "vcm") + plan.vcm_ms(there)
        return outbound, heard + ordered + way(there, "sg", "r22", here)
    return outbound, heard + way("sg", "r22", here)


def setup_bound_ms(places: tuple[str, str], plan: NetworkPlan) -> float:
    """Return the bound of a direct session's set-up, for the ends' places.

    202 from sg to the VCM; an offer to each node; its acceptance; the acceptance forwarded to the
    other node; the slower of the two chains. The first packet is at s-sg, where the decision falls,
    when the clock starts: its own way there does not count. The proposal of the node that left last
    has left when that did; where it goes by the home agent, 202 is there before it.
    """
    first, second = (plan.vcm_ms(place) for place in places)
    begin = min(plan.vcm_ms(place) - plan.propagation_ms("sg", place) for place in places)
    return begin + first + second + max(first, second)


def pair_bound_ms(path: PacketPath, places: tuple[str, str], plan: NetworkPlan) -> float:
    """Return the bound from a first packet at s-sg to packets on a pair's path, both ways.

    Behind the set-up, a packet by the home agents; on the direct path, return routability with both
    tests, an update, the peer's next packet.
    """
    here, there = places
    if path is PacketPath.VIA_HOME_AGENTS:
        return setup_bound_ms(places, plan) + plan.propagation_ms(here, "ha", there)
    both = ((here, there), (there, here))
    tested = (_direct_handover(*ends, Authorisation.BOTH_TESTS, plan) for ends in both)
    return setup_bound_ms(places, plan) + max(inbound for _, inbound in tested)


def path_ms(path: PacketPath, source: str, target: str, plan: NetworkPlan) -> float:
    """Return the sum of the configured one-way delays of a path between two places."""
    way = plan.propagation_ms
    if path is PacketPath.VIA_HOME_AGENTS:
        return way(source, "ha", target)
    if path is PacketPath.VIA_GATEWAY:
        if INSIDE in (source, target):
            return way(source, "sg", target)
        return way(source, *plan.turned_round, target)
    return way(source, target)
