"""Movement detection (mobivpn.host.movement)."""

from ipaddress import IPv6Address, IPv6Network

import pytest

from mobivpn.host.movement import (
    IDGEN_RETRIES,
    Detached,
    Inside,
    Movement,
    Outside,
    Place,
    SolicitRouters,
    Tentative,
    interface_identifier,
)

VPN = IPv6Network("fd00:10::/64")
WIFI = IPv6Network("2001:db8:1::/64")
CELL = IPv6Network("2001:db8:3::/64")
ROUTER = IPv6Address("fe80::1")
MAC = bytes.fromhex("0200000000d1")


def on_wifi(*, solicits: bool = True, waits: bool = False) -> Movement:
    movement = Movement(VPN, solicits=solicits, waits=waits)
    movement.link_found("eth0", MAC, 0.0)
    movement.router_advertised("eth0", ROUTER, [WIFI], 1800)
    return movement


def test_a_new_link_is_asked_for_its_routers_at_once():
    movement = Movement(VPN)
    assert movement.link_found("eth0", MAC, 10.0) == [SolicitRouters("eth0")]
    assert movement.place == Detached()


def test_solicitations_are_repeated_less_and_less_often_until_a_router_answers():
    movement = Movement(VPN)
    movement.link_found("eth0", MAC, 10.0)
    assert movement.deadline == 11.0
    assert movement.timer_expired(11.0) == [SolicitRouters("eth0")]
    assert movement.deadline == 13.0
    movement.router_advertised("eth0", ROUTER, [WIFI], 1800)
    assert movement.deadline is None


def test_the_companys_prefix_means_inside():
    movement = Movement(VPN)
    movement.link_found("eth0", MAC, 0.0)
    movement.router_advertised("eth0", ROUTER, [WIFI, VPN], 1800)
    assert movement.place == Inside("eth0", ROUTER)


def told(*prefixes: IPv6Network, verified: bool) -> Movement:
    movement = Movement(VPN, authenticates=True)
    movement.link_found("eth0", MAC, 0.0)
    movement.router_advertised("eth0", ROUTER, prefixes, 1800, verified=verified)
    return movement


def test_one_that_authenticates_is_inside_where_the_companys_prefix_is_verified():
    movement = told(VPN, verified=True)
    assert movement.place == Inside("eth0", ROUTER)
    assert movement.deadline is None


def test_the_companys_prefix_alone_proves_nothing_and_gives_no_address():
    movement = told(VPN, verified=False)
    assert movement.place == Detached()
    # Nobody has answered who can be believed: it goes on asking.
    assert movement.timer_expired(1.0) == [SolicitRouters("eth0")]


def test_who_claims_to_be_the_inside_may_be_used_as_what_else_it_is():
    place = told(VPN, WIFI, verified=False).place
    assert isinstance(place, Outside)
    assert place.care_of_address in WIFI


def test_a_verified_advertisement_ends_the_doubt_and_a_later_claim_changes_nothing():
    movement = told(VPN, verified=False)
    movement.router_advertised("eth0", ROUTER, [VPN], 1800, verified=True)
    assert movement.place == Inside("eth0", ROUTER)
    movement.router_advertised("eth0", IPv6Address("fe80::bad"), [VPN], 1800, verified=False)
    assert movement.place == Inside("eth0", ROUTER)


def test_what_was_verified_is_forgotten_with_its_link():
    movement = told(VPN, verified=True)
    movement.link_lost("eth0")
    movement.link_found("eth0", MAC, 9.0)
    movement.router_advertised("eth0", ROUTER, [VPN], 1800, verified=False)
    assert movement.place == Detached()


def test_routers_outside_need_not_be_verified():
    place = told(WIFI, verified=False).place
    assert isinstance(place, Outside)


def test_a_foreign_prefix_means_outside_with_an_address_of_it():
    assert on_wifi().place == Outside("eth0", ROUTER, IPv6Address("2001:db8:1::ff:fe00:d1"))


def test_losing_the_link_leaves_the_node_detached():
    movement = on_wifi()
    movement.link_lost("eth0")
    assert movement.place == Detached()


def test_losing_another_link_changes_nothing():
    movement = on_wifi()
    place = movement.place
    movement.link_lost("eth1")
    assert movement.place == place


def test_losing_a_link_twice_is_the_same_as_once():
    movement = on_wifi()
    movement.link_lost("eth0")
    movement.link_lost("eth0")
    assert movement.place == Detached()


def test_another_prefix_on_the_same_link_is_a_movement():
    movement = on_wifi()
    movement.router_advertised("eth0", ROUTER, [CELL], 1800)
    assert isinstance(movement.place, Outside)
    assert movement.place.care_of_address in CELL


def test_what_cannot_be_used_is_ignored():
    movement = Movement(VPN)
    movement.link_found("eth0", MAC, 0.0)
    movement.router_advertised("eth1", ROUTER, [WIFI], 1800)
    movement.router_advertised("eth0", ROUTER, [], 1800)
    movement.router_advertised("eth0", ROUTER, [IPv6Network("2001:db8::/48")], 1800)
    movement.router_advertised("eth0", ROUTER, [WIFI], 0)
    assert movement.place == Detached()
    assert movement.deadline == 1.0


def on_two_links() -> Movement:
    movement = on_wifi()
    movement.link_found("eth1", MAC, 1.0)
    movement.router_advertised("eth1", ROUTER, [CELL], 1800)
    return movement


ON_WIFI = Outside("eth0", ROUTER, IPv6Address("2001:db8:1::ff:fe00:d1"))
ON_CELL = Outside("eth1", ROUTER, IPv6Address("2001:db8:3::ff:fe00:d1"), slot=1)


def test_a_node_with_two_links_outside_is_on_the_newer_one():
    movement = on_two_links()
    assert movement.place == ON_CELL
    assert movement.former == (ON_WIFI,)


def test_a_router_that_is_heard_again_does_not_make_its_link_the_newer_one():
    movement = on_two_links()
    movement.router_advertised("eth0", ROUTER, [WIFI], 1800)
    assert movement.place == ON_CELL


def test_losing_the_former_link_leaves_the_place_as_it_is():
    movement = on_two_links()
    movement.link_lost("eth0")
    assert movement.place == ON_CELL
    assert movement.former == ()


def test_losing_the_newer_link_leads_back_to_the_former_place():
    movement = on_two_links()
    movement.link_lost("eth1")
    assert movement.place == ON_WIFI
    assert movement.former == ()


def test_inside_comes_before_whatever_else_a_node_is_attached_to():
    movement = on_wifi()
    movement.link_found("eth1", MAC, 1.0)
    movement.router_advertised("eth1", ROUTER, [VPN], 1800)
    movement.router_advertised("eth0", ROUTER, [CELL], 1800)
    assert movement.place == Inside("eth1", ROUTER)
    assert movement.former == ()


def test_a_slot_is_free_again_when_its_link_is_lost():
    movement = on_two_links()
    movement.link_lost("eth0")
    movement.link_found("eth2", MAC, 2.0)
    movement.link_found("eth1", MAC, 2.0)
    movement.router_advertised("eth2", ROUTER, [WIFI], 1800)
    movement.router_advertised("eth1", ROUTER, [CELL], 1800)
    assert isinstance(movement.place, Outside)
    assert [movement.place.slot, *(place.slot for place in movement.former)] == [0, 1]


def care_of_address(place: Place) -> IPv6Address:
    assert isinstance(place, Tentative | Outside)
    return place.care_of_address


def test_one_that_does_not_solicit_waits_for_an_advertisement_however_long():
    movement = Movement(VPN, solicits=False)
    assert movement.link_found("eth0", MAC, 10.0) == []
    assert movement.deadline is None
    movement.router_advertised("eth0", ROUTER, [WIFI], 1800)
    assert isinstance(movement.place, Outside)


def test_one_that_waits_has_a_tentative_place_until_its_address_is_usable():
    movement = on_wifi(waits=True)
    address = care_of_address(movement.place)
    assert movement.place == Tentative("eth0", ROUTER, address)
    movement.address_usable("eth0", address)
    assert movement.place == Outside("eth0", ROUTER, address)


def test_an_address_is_detected_once_however_often_routers_advertise_its_prefix():
    movement = on_wifi(waits=True)
    movement.router_advertised("eth0", ROUTER, [WIFI], 1800)
    address = care_of_address(movement.place)
    assert movement.place == Tentative("eth0", ROUTER, address)
    movement.address_usable("eth0", address)
    other = IPv6Address("fe80::2")
    movement.router_advertised("eth0", other, [WIFI], 1800)
    assert movement.place == Outside("eth0", other, address)


def test_one_that_waits_does_so_inside_for_nothing():
    movement = Movement(VPN, waits=True)
    movement.link_found("eth0", MAC, 0.0)
    movement.router_advertised("eth0", ROUTER, [VPN], 1800)
    assert movement.place == Inside("eth0", ROUTER)


@pytest.mark.parametrize(("waits", "kind"), [(False, Outside), (True, Tentative)])
def test_a_duplicate_is_followed_by_another_address_of_the_prefix(waits: bool, kind: type[Place]):
    movement = on_wifi(waits=waits)
    address = care_of_address(movement.place)
    movement.address_duplicate("eth0", address)
    assert isinstance(movement.place, kind)
    assert care_of_address(movement.place) in WIFI
    assert care_of_address(movement.place) != address


def test_a_settled_address_may_still_turn_out_to_be_a_duplicate():
    movement = on_wifi(waits=True)
    address = care_of_address(movement.place)
    movement.address_usable("eth0", address)
    movement.address_duplicate("eth0", address)
    assert isinstance(movement.place, Tentative)


def test_what_was_found_in_use_is_remembered_for_the_next_visit():
    movement = on_wifi()
    movement.address_duplicate("eth0", care_of_address(movement.place))
    second = movement.place
    movement.link_lost("eth0")
    movement.link_found("eth0", MAC, 9.0)
    movement.router_advertised("eth0", ROUTER, [WIFI], 1800)
    assert movement.place == second


def test_a_link_where_every_address_is_in_use_is_of_no_use_until_it_is_found_again():
    movement = on_wifi()
    tried = set[IPv6Address]()
    while isinstance(movement.place, Outside):
        tried.add(movement.place.care_of_address)
        movement.address_duplicate("eth0", movement.place.care_of_address)
    assert len(tried) == 1 + IDGEN_RETRIES
    movement.router_advertised("eth0", ROUTER, [WIFI], 1800)
    assert movement.place == Detached()
    movement.link_lost("eth0")
    movement.link_found("eth0", MAC, 9.0)
    movement.router_advertised("eth0", ROUTER, [WIFI], 1800)
    assert care_of_address(movement.place) in tried


def test_news_of_an_address_that_is_none_of_the_place_change_nothing():
    for movement in (on_wifi(), on_wifi(waits=True), Movement(VPN)):
        place = movement.place
        for device, address in (
            ("eth0", IPv6Address("2001:db8:1::99")),
            ("eth1", IPv6Address("2001:db8:1::ff:fe00:d1")),
        ):
            movement.address_duplicate(device, address)
            movement.address_usable(device, address)
            assert movement.place == place


def test_other_identifiers_follow_from_the_count_of_duplicates_and_the_hardware_alone():
    others = {interface_identifier(MAC, duplicates) for duplicates in range(1 + IDGEN_RETRIES)}
    assert len(others) == 1 + IDGEN_RETRIES
    assert interface_identifier(MAC, 1) == interface_identifier(MAC, 1)
    assert interface_identifier(MAC, 1) != interface_identifier(MAC[::-1], 1)


def test_a_node_stays_on_its_usable_link_while_an_address_of_another_is_tentative():
    movement = on_wifi(waits=True)
    movement.address_usable("eth0", care_of_address(movement.place))
    on_wifi_still = movement.place
    movement.link_found("eth1", MAC, 1.0)
    movement.router_advertised("eth1", ROUTER, [CELL], 1800)
    assert movement.place == on_wifi_still
    movement.address_usable("eth1", IPv6Address("2001:db8:3::ff:fe00:d1"))
    assert movement.place == ON_CELL
    assert movement.former == (on_wifi_still,)
