"""Tallies of one set and of two."""

import itertools

import pytest

from objstore.core.quorum import Quorum, Tally, majority, overlap


@pytest.mark.parametrize(("members", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_majority_is_the_smallest_number_that_always_overlaps(members: int, needed: int) -> None:
    assert majority(members) == needed


@pytest.mark.parametrize("members", [1, 2, 3, 4, 5])
def test_a_tally_agrees_with_counting_heads(members: int) -> None:
    devices = range(members)
    for votes in itertools.product("yn-", repeat=members):
        tally = Tally(Quorum([list(devices)]))
        for device, vote in zip(devices, votes, strict=True):
            if vote == "y":
                tally.yes(device)
            elif vote == "n":
                tally.no(device)
        assert tally.reached == (votes.count("y") >= majority(members))
        assert tally.lost == (members - votes.count("n") < majority(members))


def test_two_sets_need_a_quorum_of_each() -> None:
    tally = Tally(Quorum([(1, 2, 3), (1, 4, 5)]))
    tally.yes(1)
    tally.yes(2)
    assert not tally.reached
    assert (tally.count(0), tally.count(1)) == (2, 1)
    tally.yes(4)
    assert tally.reached


def test_two_sets_are_lost_when_either_is() -> None:
    tally = Tally(Quorum([(1, 2, 3), (1, 4, 5)]))
    tally.no(4)
    assert not tally.lost
    tally.no(5)
    assert tally.lost


def test_the_first_answer_of_a_device_stands() -> None:
    tally = Tally(Quorum([(1,)]))
    tally.no(1)
    tally.yes(1)
    assert tally.lost
    assert not tally.reached
    tally = Tally(Quorum([(1,)]))
    tally.yes(1)
    tally.no(1)
    assert tally.reached
    assert not tally.lost


def test_a_device_without_a_vote_does_not_count_in_a_single_set() -> None:
    tally = Tally(Quorum([(1, 2, 3)]))
    tally.yes(1, voting=False)
    tally.yes(2)
    assert not tally.reached
    tally.no(3)
    assert tally.lost


def test_a_new_device_without_a_vote_counts_in_the_new_set_only() -> None:
    tally = Tally(Quorum([(1, 2, 3), (1, 2, 4)]))
    tally.yes(1)
    tally.yes(4, voting=False)
    assert (tally.count(0), tally.count(1)) == (1, 2)
    tally.yes(3)
    assert tally.reached


def test_members_are_in_order_and_each_once() -> None:
    quorum = Quorum([(3, 1, 2), (2, 4, 1)])
    assert quorum.members == (3, 1, 2, 4)
    assert 4 in quorum
    assert 5 not in quorum
    assert repr(quorum) == "Quorum(((3, 1, 2), (2, 4, 1)))"


def test_a_set_that_names_a_device_twice_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        Quorum([(1, 1, 2)])


@pytest.mark.parametrize("count", range(1, 8))
def test_an_overlap_is_the_least_that_meets_every_majority(count: int) -> None:
    def meets(size: int) -> bool:
        seats = range(count)
        return all(
            set(some) & set(most) for some in itertools.combinations(seats, size) for most in itertools.combinations(seats, majority(count))
        )

    assert meets(overlap(count))
    assert not meets(overlap(count) - 1)


def test_a_tally_is_complete_when_every_member_has_voted() -> None:
    tally = Tally(Quorum([(1, 2, 3), (2, 3, 4)]))
    tally.yes(1)
    tally.no(2)
    tally.yes(3)
    assert not tally.complete
    tally.yes(4, voting=False)
    assert tally.complete
