"""Which systems there are to compare (mobivpn.variants)."""

from mobivpn.variants import System


def test_other_systems_are_hubs_but_for_plain_mobile_ipv6():
    foreign = {system for system in System if system.is_foreign}
    assert foreign == set(System) - {System.MOBIVPN}
    assert {system for system in System if system.is_hub} == foreign - {System.MIP6}


def test_the_tunnels_of_strongswan_alone_are_policies():
    assert [system for system in System if system.has_policies] == [System.STRONGSWAN]
