"""The kernels' dumps become tables; nothing secret does, whatever the dump holds."""

from pathlib import Path

from experiments.databases import parse, read_databases
from experiments.report.databases import Change, compare
from tests.support.sample_results import write_databases

STATES = """src 2001:db8:ee::d1 dst 2001:db8:5::5
\tproto hao reqid 0 mode ro
\treplay-window 0 
\tcoa 2001:db8:1::1
\tlastused 2026-01-01 00:00:00
\tanti-replay context: seq 0x0, oseq 0x0, bitmap 0x00000000
\tsel src ::/0 dst ::/0 
src 2001:db8:5::5 dst 2001:db8:ee::d1
\tproto esp spi 0x00001002 reqid 1 mode tunnel
\treplay-window 0 flag esn
\taead rfc4106(gcm(aes)) <<Keys hidden>> 128
\tanti-replay esn context:
\t seq-hi 0x0, seq 0x0, oseq-hi 0x0, oseq 0x0
\t replay_window 4096, bitmap-length 128
\t 00000000 00000000 
\tsel src fd00:10::/64 dst fd00:10::d1/128 
"""  # noqa: W291
POLICIES = """src fd00:10::d1/128 dst fd00:10::9/128 proto udp sport 5202 dport 5202 
\tdir out priority 900 ptype main 
\ttmpl src fd00:10::d1 dst fd00:10::9
\t\tproto esp reqid 3 mode transport
\ttmpl src 2001:db8:ee::d1 dst 2001:db8:5::5
\t\tproto esp reqid 1 mode tunnel
src 2001:db8:ee::d1/128 dst ::/0 proto mobility-header 
\tdir out priority 10 ptype main 
src fd00:10::d1/128 dst ::/0 
\tdir out action block priority 9000 ptype main 
src fd00:10::/64 dst fd00:10::d1/128 
\tdir in priority 1000 ptype main 
\ttmpl src :: dst ::
\t\tproto esp reqid 0 mode tunnel
\ttmpl src :: dst ::
\t\tproto route2 reqid 0 mode ro
\t\tlevel use 
"""  # noqa: W291


def test_associations_and_bindings_are_read() -> None:
    found = parse("start", "mn1", STATES + "\n" + POLICIES)
    assert [entry.cells for entry in found.associations] == [
        (
            "hao",
            "2001:db8:ee::d1 to 2001:db8:5::5",
            "",
            "ro",
            "care-of address 2001:db8:1::1",
            "",
            "any",
        ),
        (
            "esp",
            "2001:db8:5::5 to 2001:db8:ee::d1",
            "0x00001002",
            "tunnel",
            "rfc4106(gcm(aes))",
            "4096",
            "fd00:10::/64 to fd00:10::d1/128",
        ),
    ]


def test_an_algorithm_of_two_is_read_as_both() -> None:
    both = "\tauth-trunc hmac(sha256) <<Keys hidden>> 128\n\tenc cbc(aes) <<Keys hidden>>"
    found = parse(
        "start", "mn1", STATES.replace("\taead rfc4106(gcm(aes)) <<Keys hidden>> 128", both)
    )
    assert found.associations[1].algorithm == "hmac(sha256), cbc(aes)"


def test_policies_are_read_in_the_words_of_rfc_9061() -> None:
    found = parse("start", "mn1", STATES + "\n" + POLICIES)
    assert [entry.cells for entry in found.policies] == [
        (
            "out",
            "900",
            "fd00:10::d1/128 to fd00:10::9/128 proto udp sport 5202 dport 5202",
            "protect",
            "esp transport, fd00:10::d1 to fd00:10::9; then "
            "esp tunnel, 2001:db8:ee::d1 to 2001:db8:5::5",
        ),
        ("out", "10", "2001:db8:ee::d1/128 to ::/0 proto mobility-header", "bypass", "none"),
        ("out", "9000", "fd00:10::d1/128 to ::/0", "discard", "none"),
        ("in", "1000", "fd00:10::/64 to fd00:10::d1/128", "protect", "esp tunnel; then route2 ro"),
    ]


def test_a_key_in_a_dump_is_not_copied() -> None:
    key = "0x" + "5ec2e7" * 6
    found = parse("start", "mn1", STATES.replace("<<Keys hidden>>", key))
    assert key not in repr(found)


def test_lines_that_are_not_known_are_left_out() -> None:
    found = parse("start", "mn1", "src nothing\nsrc a dst b\n\tsomething new\n")
    assert (found.associations, found.policies) == ((), ())


def test_moments_come_in_order_of_time(tmp_path: Path) -> None:
    write_databases(tmp_path)
    (tmp_path / "before-move-10-sg.txt").write_text(STATES)
    moments = list(dict.fromkeys(database.moment for database in read_databases(tmp_path)))
    before = [f"before-move-{number}" for number in (1, 2, 3, 4, 5, 6, 10)]
    assert moments == ["start", *before, "end"]


def test_a_comparison_tells_new_gone_and_kept_entries() -> None:
    before = parse("gateway", "mn1", STATES)
    after = parse("direct", "mn1", STATES.replace("2001:db8:1::1", "2001:db8:2::1") + POLICIES)
    (found,) = compare([before], [after, parse("direct", "mn2", STATES)])
    assert [row.change for row in found.associations] == [Change.NEW, Change.GONE, Change.KEPT]
    assert found.associations[0].cells[4] == "care-of address 2001:db8:2::1"
    assert found.changed == 2 + 4
