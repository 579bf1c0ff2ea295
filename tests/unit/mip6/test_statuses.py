"""Every status of a binding acknowledgement (RFC 6275 section 6.1.8): who sends it, and what then.

docs/reference/acknowledgements.md has the table, and is held to it here.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from mobivpn.mip6.constants import MAX_NONCE_LIFETIME_S
from mobivpn.mip6.effects import SendMobility
from mobivpn.mip6.messages import (
    BindingAcknowledgement,
    BindingUpdate,
    CareOfTestInit,
    HomeTestInit,
    NonceIndices,
    Status,
)
from mobivpn.mip6.registration import CORRESPONDENT, HOME, Phase
from tests.unit.mip6 import test_correspondent_node as correspondent
from tests.unit.mip6 import test_home_agent as home_agent
from tests.unit.mip6 import test_mobile_node as mobile_node

TABLE = Path(__file__).parents[3] / "docs/reference/acknowledgements.md"
HERE, OTHER = home_agent.HERE, home_agent.OTHER
Sent = Sequence[object]


def at_correspondent(
    update: BindingUpdate | None = None, sequence: int = 1, now: float = 0.0, **settings: object
) -> Sent:
    node = correspondent.correspondent(protected=False, **settings)
    if update is None:
        update, _ = correspondent.authorised(node, sequence, now)
    return correspondent.receive(node, update, now)


def at_bound_correspondent(sequence: int) -> Sent:
    node = correspondent.bound(correspondent.correspondent(), sequence=9)
    update, _ = correspondent.authorised(node, sequence, 1.0)
    return correspondent.receive(node, update, 1.0)


def home_registration_at_correspondent() -> Sent:
    node = correspondent.correspondent(protected=True)
    return correspondent.receive(node, BindingUpdate(1, 420, home_registration=True), 0.0)


def with_nonces(*, home_is_old: bool, care_of_is_old: bool) -> Sent:
    node = correspondent.correspondent()

    def indices(now: float) -> tuple[int, int]:
        home = correspondent.test_answer(node, HomeTestInit(b"cookie.."), HERE, now)
        care_of = correspondent.test_answer(node, CareOfTestInit(b"cookie.."), HERE, now)
        return home.nonce_index, care_of.nonce_index

    old, now = indices(0.0), 2 * MAX_NONCE_LIFETIME_S
    new = indices(now)
    chosen = NonceIndices((new, old)[home_is_old][0], (new, old)[care_of_is_old][1])
    update, _ = correspondent.authorised(node, 1, now)
    made = BindingUpdate(1, 420, nonce_indices=chosen, authorization=update.authorization)
    return correspondent.receive(node, made, now)


def at_home_agent(
    update: BindingUpdate | None = None,
    home: IPv6Address = home_agent.NODE,
    others: Sequence[BindingUpdate] = (),
    **settings: object,
) -> Sent:
    agent = home_agent.agent(**settings)
    for other in others:
        home_agent.receive(agent, other)
    return home_agent.receive(agent, update or home_agent.update(1), home=home)


def somebody_has_the_home_address() -> Sent:
    agent = home_agent.agent(detect_duplicates=True)
    assert statuses(home_agent.receive(agent, home_agent.update(1))) == []
    return agent.address_claimed(home_agent.NODE, 0.5)


@dataclass(frozen=True)
class Case:
    """What brings a status about."""

    status: Status
    role: str
    clause: str
    bring_about: Callable[[], Sent]

    def __str__(self) -> str:
        return f"{self.status.value}-section-{self.clause}-{self.role.replace(' ', '-')}"


BY_CORRESPONDENT, BY_HOME_AGENT = "correspondent", "home agent"
SERVED = frozenset({home_agent.AGENT})
"""Nobody's home address."""
CASES = (
    Case(Status.ACCEPTED, BY_CORRESPONDENT, "9.5.1", at_correspondent),
    Case(
        Status.ADMINISTRATIVELY_PROHIBITED,
        BY_CORRESPONDENT,
        "9.5.1",
        lambda: at_correspondent(permitted=SERVED),
    ),
    Case(
        Status.INSUFFICIENT_RESOURCES,
        BY_CORRESPONDENT,
        "9.5.1",
        lambda: at_correspondent(capacity=0),
    ),
    Case(
        Status.HOME_REGISTRATION_NOT_SUPPORTED,
        BY_CORRESPONDENT,
        "10.3.1",
        home_registration_at_correspondent,
    ),
    Case(
        Status.SEQUENCE_NUMBER_OUT_OF_WINDOW,
        BY_CORRESPONDENT,
        "9.5.1",
        lambda: at_bound_correspondent(9),
    ),
    Case(
        Status.EXPIRED_HOME_NONCE_INDEX,
        BY_CORRESPONDENT,
        "9.5.1",
        lambda: with_nonces(home_is_old=True, care_of_is_old=False),
    ),
    Case(
        Status.EXPIRED_CARE_OF_NONCE_INDEX,
        BY_CORRESPONDENT,
        "9.5.1",
        lambda: with_nonces(home_is_old=False, care_of_is_old=True),
    ),
    Case(
        Status.EXPIRED_NONCES,
        BY_CORRESPONDENT,
        "9.5.1",
        lambda: with_nonces(home_is_old=True, care_of_is_old=True),
    ),
    Case(Status.ACCEPTED, BY_HOME_AGENT, "10.3.1", at_home_agent),
    Case(
        Status.INSUFFICIENT_RESOURCES,
        BY_HOME_AGENT,
        "10.3.1",
        lambda: at_home_agent(capacity=0),
    ),
    Case(
        Status.NOT_HOME_SUBNET,
        BY_HOME_AGENT,
        "10.3.1",
        lambda: at_home_agent(home=IPv6Address("2001:db8:5::5")),
    ),
    Case(
        Status.NOT_HOME_AGENT_FOR_THIS_NODE,
        BY_HOME_AGENT,
        "10.3.1",
        lambda: at_home_agent(home=OTHER, served=SERVED),
    ),
    Case(
        Status.NOT_HOME_AGENT_FOR_THIS_NODE,
        BY_HOME_AGENT,
        "10.3.2",
        lambda: at_home_agent(home_agent.update(1, 0)),
    ),
    Case(
        Status.DUPLICATE_ADDRESS_DETECTION_FAILED,
        BY_HOME_AGENT,
        "10.3.1",
        somebody_has_the_home_address,
    ),
    Case(
        Status.SEQUENCE_NUMBER_OUT_OF_WINDOW,
        BY_HOME_AGENT,
        "9.5.1",
        lambda: at_home_agent(others=[home_agent.update(1)]),
    ),
    Case(
        Status.REGISTRATION_TYPE_CHANGE_DISALLOWED,
        BY_HOME_AGENT,
        "9.5.1",
        lambda: at_home_agent(
            home_agent.update(2, home_registration=False), others=[home_agent.update(1)]
        ),
    ),
    Case(
        Status.INVALID_CARE_OF_ADDRESS,
        BY_HOME_AGENT,
        "10.3.1",
        lambda: at_home_agent(home_agent.update(1, care_of=IPv6Address("fe80::1"))),
    ),
)


def statuses(effects: Sent) -> list[int]:
    return [
        effect.message.status
        for effect in effects
        if isinstance(effect, SendMobility) and isinstance(effect.message, BindingAcknowledgement)
    ]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_status_is_sent_as_its_clause_says(case: Case):
    assert statuses(case.bring_about()) == [case.status]


def table() -> dict[int, list[str]]:
    """Return the cells of the documentation's table by status."""
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", TABLE.read_text(encoding="utf-8"), re.MULTILINE)
    return {int(status): [cell.strip() for cell in cells.split("|")] for status, cells in rows}


def test_the_documentation_has_every_status_and_says_who_sends_it_by_which_clause():
    assert {status: cells[0] for status, cells in table().items()} == {
        status.value: f"`{status.name}`" for status in Status
    }
    for status, (_, senders, clauses, _) in table().items():
        cases = [case for case in CASES if case.status == status]
        roles = dict.fromkeys(case.role for case in cases)
        assert senders == ", ".join(roles) if roles else senders.startswith("nobody: ")
        assert clauses == ", ".join(dict.fromkeys(case.clause for case in cases))


@pytest.mark.parametrize("status", Status)
def test_what_a_mobile_node_does_about_it_is_what_the_documentation_says(status: Status):
    mobile = mobile_node.node_outside()
    tested = "NONCE" in status.name
    peer = mobile_node.PEER if tested else mobile_node.HOME_AGENT
    effects = mobile.register(peer, CORRESPONDENT if tested else HOME, 0.0)
    if tested:
        effects = mobile_node.pass_tests(mobile, effects, 0.1)
    (update,) = mobile_node.updates(effects)
    number = update.sequence + 5 if status == Status.SEQUENCE_NUMBER_OUT_OF_WINDOW else 0
    effects = mobile_node.acknowledge(
        mobile, update, 0.2, peer=peer, status=status, sequence=number or update.sequence
    )
    again = mobile_node.updates(effects)
    tests = [
        m for m in mobile_node.messages(effects) if isinstance(m, HomeTestInit | CareOfTestInit)
    ]
    done = {
        (Phase.REGISTERED, 0, False): "is registered",
        (Phase.FAILED, 0, False): "has failed",
        (Phase.UPDATING, 1, False): "updates again",
        (Phase.ROUTABILITY, 0, True): "tests again",
    }[mobile.phase(peer), len(again), bool(tests)]
    assert table()[status][3] == done
    assert not number or again[0].sequence > number


def test_a_status_that_nobody_knows_is_a_refusal_from_128_on():
    for status, phase in ((127, Phase.REGISTERED), (140, Phase.FAILED), (255, Phase.FAILED)):
        mobile = mobile_node.node_outside()
        (update,) = mobile_node.updates(mobile.register(mobile_node.HOME_AGENT, HOME, 0.0))
        mobile_node.acknowledge(mobile, update, 0.1, peer=mobile_node.HOME_AGENT, status=status)
        assert mobile.phase(mobile_node.HOME_AGENT) is phase
