"""What the SACK option says: RFC 2018, RFC 2883's examples."""

from tests.support.receiving import Ends


def starting_at(number):
    """Ends that have everything below *number*, and have said so."""
    ends = Ends(irs=(1 << 32) - 2500)
    ends.gets(1, number - 1)
    ends.acks()
    return ends


def receive(ends, first, last):
    """One of the RFC's segments, by its first and its last byte; returns the ACK, or None."""
    ends.gets(first, last - first + 1)
    return ends.acks()[:2] if ends.receiver.ack_now else None


def test_the_block_of_the_last_segment_comes_first():
    """RFC 2018 §7, case 2 and 3."""
    ends = starting_at(5000)
    assert receive(ends, 5500, 5999) == (5000, [(5500, 6000)])
    assert receive(ends, 6000, 6499) == (5000, [(5500, 6500)])
    assert receive(ends, 7000, 7499) == (5000, [(7000, 7500), (5500, 6500)])
    assert receive(ends, 8000, 8499) == (5000, [(8000, 8500), (7000, 7500), (5500, 6500)])
    assert receive(ends, 6500, 6999) == (5000, [(5500, 7500), (8000, 8500)])
    assert receive(ends, 5000, 5499) == (7500, [(8000, 8500)])


def test_there_are_as_many_blocks_as_the_option_has_room_for():
    ends = starting_at(1000)
    for at in range(2000, 12_000, 1000):
        ends.gets(at, 500)
    receiver = ends.receiver
    assert len(receiver.sack_blocks(4)) == 4 and len(receiver.sack_blocks(3)) == 3
    ends.gets(11_000, 500)
    assert [ends.at(left) for left, _ in receiver.sack_blocks(3)] == [11_000, 11_000, 10_000]


def test_nothing_is_said_without_agreement():
    ends = Ends(sack=False)
    ends.gets(1001, 1000)
    ends.gets(1001, 1000)
    assert ends.receiver.out_of_order and ends.sacks() == (1, [])
    ends.gets(1, 1000)
    ends.acks()
    ends.gets(1, 1000)
    assert not ends.receiver.out_of_order and ends.sacks() == (2001, [])


def test_rfc_2883_4_1_1_a_duplicate_segment():
    ends = starting_at(3000)
    assert receive(ends, 3000, 3499) == (3500, [])
    assert receive(ends, 3500, 3999) == (4000, [])
    assert receive(ends, 3000, 3499) == (4000, [(3000, 3500)])
    ends.receiver.ack_now = True
    assert ends.sacks() == (4000, [])  # a D-SACK is said once


def test_rfc_2883_4_1_2_an_out_of_order_segment_and_a_duplicate_segment():
    ends = starting_at(3000)
    receive(ends, 3000, 3499)
    assert receive(ends, 3500, 3999) == (4000, [])
    assert receive(ends, 4500, 4999) == (4000, [(4500, 5000)])
    assert receive(ends, 3000, 3499) == (4000, [(3000, 3500), (4500, 5000)])


def test_rfc_2883_4_1_3_a_duplicate_of_an_out_of_order_segment():
    """The second block is the larger one that the duplicate is in."""
    ends = starting_at(3500)
    assert receive(ends, 4000, 4499) == (3500, [(4000, 4500)])
    assert receive(ends, 4500, 4999) == (3500, [(4000, 5000)])
    assert receive(ends, 6000, 6499) == (3500, [(6000, 6500), (4000, 5000)])
    assert receive(ends, 4000, 4499) == (3500, [(4000, 4500), (4000, 5000), (6000, 6500)])


def test_rfc_2883_4_1_4_of_a_segment_that_came_three_times_each_is_reported():
    ends = starting_at(3500)
    for _ in range(2):
        receive(ends, 4000, 4499)
        assert receive(ends, 4000, 4499) == (3500, [(4000, 4500), (4000, 4500)])


def test_rfc_2883_4_2_1_a_partial_duplicate():
    ends = starting_at(500)
    assert receive(ends, 500, 999) == (1000, [])
    assert receive(ends, 2000, 2499) == (1000, [(2000, 2500)])
    assert receive(ends, 1000, 1499) == (1500, [(2000, 2500)])
    assert receive(ends, 1000, 1999) == (2500, [(1000, 1500)])


def test_rfc_2883_4_2_2_two_duplicate_subsegments_of_which_the_first_is_reported():
    ends = starting_at(500)
    receive(ends, 500, 999)
    assert receive(ends, 3000, 3499) == (1000, [(3000, 3500)])
    assert receive(ends, 1000, 1499) == (1500, [(3000, 3500)])
    assert receive(ends, 2000, 2499) == (1500, [(2000, 2500), (3000, 3500)])
    assert receive(ends, 1000, 2499) == (2500, [(1000, 1500), (3000, 3500)])


def test_rfc_2883_4_2_3_two_duplicate_subsegments_beyond_a_hole():
    ends = starting_at(500)
    receive(ends, 500, 999)
    assert receive(ends, 3500, 3999) == (1000, [(3500, 4000)])
    assert receive(ends, 1500, 1999) == (1000, [(1500, 2000), (3500, 4000)])
    assert receive(ends, 2500, 2999) == (1000, [(2500, 3000), (1500, 2000), (3500, 4000)])
    assert receive(ends, 1500, 2999) == (1000, [(1500, 2000), (1500, 3000), (3500, 4000)])


def test_old_text_that_was_refused_is_reported_as_far_as_it_was_there():
    """What the Connection notes of segments that are not acceptable."""
    ends = starting_at(3000)
    ends.receiver.duplicate(ends.irs + 1000, ends.irs + 2000)
    assert ends.sacks() == (3000, [(1000, 2000)])
    ends.receiver.duplicate(ends.irs + 90_000, ends.irs + 91_000)
    assert ends.receiver.sack_blocks(4) == []


def test_duplicates_of_one_batch_that_continue_each_other_are_one():
    ends = starting_at(3000)
    ends.gets(1000, 500)
    ends.gets(1500, 500)
    assert ends.sacks() == (3000, [(1000, 2000)])
