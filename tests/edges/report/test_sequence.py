"""A move's chart shows the messages that were sent for it, where they went, and no others."""

from dataclasses import replace
from pathlib import Path

from experiments.report import sequence
from experiments.report.record import Message, Move, Record
from experiments.report.sequence import Row, rows_of


def message(at_s: float, **changes: object) -> Message:
    given = Message(at_s, at_s + 0.02, "mn1", "sg", "mobility", "BindingUpdate", "", (), {})
    return replace(given, **changes)


def only(record: Record, move: int, *messages: Message) -> list[Row]:
    """Return the rows of a move of a run with these messages and no probes."""
    return rows_of(replace(record, messages=messages, probes=()), record.moves[move])


def test_the_switch_shows_figure_2_in_the_order_of_sending(record: Record) -> None:
    rows = rows_of(record, record.moves[1])
    assert [row.numeral for row in rows if row.numeral] == [
        *("202", "204", "210", "206", "212", "212", "208"),
        # mn2 has been told that mn1 is ready before mn1 is told the same.
        *("214, 216", "208", "214, 216", "220", "220"),
    ]
    assert [row.sent_s for row in rows] == sorted(row.sent_s for row in rows)


def test_a_message_passes_the_routers_on_whose_links_it_was_seen(record: Record) -> None:
    offer = message(
        2.1,
        source="vcm",
        destination="mn1",
        protocol="signalling",
        name="SaOffer",
        # fs saw it too: the switch had to flood it.
        links=("vcm", "fs", "r22-lan", "r22-sg", "sg-lan", "sg-ext", "uplink-wifi1", "mn1"),
    )
    (row,) = only(record, 1, offer)
    assert row.hops == ("vcm", "r22", "sg", "wifi1", "mn1")


def test_a_message_that_was_sent_again_says_so(record: Record) -> None:
    first, second, other = message(2.1), message(2.3), message(2.4, details={"sequence": 2})
    assert [row.name for row in only(record, 1, first, second, other)] == [
        "BindingUpdate",
        "BindingUpdate (again)",
        "BindingUpdate",
    ]


def test_a_test_of_a_later_move_is_not_an_earlier_one_again(record: Record) -> None:
    tests = [message(at_s, destination="mn2", name="CareOfTestInit") for at_s in (2.1, 3.1, 3.2)]
    assert [row.name for row in only(record, 2, *tests)] == [
        "CareOfTestInit",
        "CareOfTestInit (again)",
    ]


def test_a_chart_ends_when_all_is_quiet(record: Record) -> None:
    quiet = replace(record, moves=[record.moves[0]])
    rows = only(quiet, 0, message(1.1), message(1.9), message(3.1))
    assert [row.sent_s for row in rows] == [1.1, 1.9]


def test_neighbour_discovery_is_that_of_the_node_that_moved(record: Record) -> None:
    def discovery(at_s: float, name: str, source: str, destination: str, link: str) -> Message:
        return message(
            at_s,
            protocol="neighbour discovery",
            name=name,
            source=source,
            destination=destination,
            links=(link,),
        )

    rows = only(
        record,
        0,
        discovery(1.01, "RouterSolicitation", "mn2", "", "mn2"),
        discovery(1.02, "RouterAdvertisement", "cell", "mn2", "mn2"),
        discovery(1.03, "RouterAdvertisement", "cell", "mn2", "mn2"),
        discovery(1.04, "RouterAdvertisement", "lan", "mn3", "mn3"),
    )
    assert [row.hops for row in rows] == [("mn2", "cell"), ("cell", "mn2")]


def test_a_message_whose_ends_are_not_known_is_drawn_from_where_it_was_seen(
    record: Record, tmp_path: Path
) -> None:
    stray = message(1.1, source="", destination="", links=("mn3",))
    (row,) = only(record, 0, stray)
    assert row.hops == ("mn3",)
    assert row.to_all
    sequence.chart(replace(record, messages=[stray]), record.moves[0]).save(tmp_path)
    assert (tmp_path / "sequence-1.svg").exists()


def test_a_long_chart_is_cut_and_says_so(record: Record) -> None:
    many = [message(2.1 + n / 1000, details={"sequence": n}) for n in range(100)]
    chart = sequence.chart(replace(record, messages=many, probes=()), record.moves[1])
    assert "30 later rows are left out" in chart.caption


def test_a_move_without_a_message_has_a_reason_in_place_of_a_chart(record: Record) -> None:
    chart = sequence.chart(replace(record, messages=(), probes=()), record.moves[0])
    assert chart.figure is None
    assert chart.caption.startswith("Not drawn")


def test_every_move_has_a_chart_with_words(record: Record) -> None:
    charts = sequence.pictures(record)
    assert [chart.name for chart in charts] == [f"sequence-{n}" for n in range(1, 7)]
    assert "20.0 ms: SessionDetected (202), sg to vcm" in charts[1].alternative


def test_a_status_or_a_lifetime_stands_beside_its_message(record: Record) -> None:
    move: Move = record.moves[1]
    refused = message(2.1, name="BindingAcknowledgement", details={"status": 132, "lifetime_s": 4})
    (row,) = only(record, move.index, refused)
    assert row.words == "status 132, lifetime 4 s"
