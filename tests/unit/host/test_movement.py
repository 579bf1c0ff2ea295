"""Movement detection (mobivpn.host.movement)."""

from ipaddress import IPv6Address, IPv6Network

from mobivpn.host.movement import Detached, Inside, Movement, Outside, SolicitRouters

VPN = IPv6Network("fd00:10::/64")
WIFI = IPv6Network("2001:db8:1::/64")
CELL = IPv6Network("2001:db8:3::/64")
ROUTER = IPv6Address("fe80::1")
MAC = bytes.fromhex("0200000000d1")


def on_wifi() -> Movement:
    movement = Movement(VPN)
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
