"""Who must agree: the sets of devices that an operation needs a quorum of, and tallies of their votes.

A partition has one set of primaries, or two while it moves: the previous one and the new one.  Every round needs its
quorum in each set (architecture.md section 1).  Handoffs are no members, so they can never be counted by mistake.
A tally is two integers: a bit for each seat, so that recording a vote costs next to nothing.
"""

from collections.abc import Sequence


def majority(count: int) -> int:
    """The smallest number of members of which any two choices overlap."""
    assert count > 0
    return count // 2 + 1


def overlap(count: int) -> int:
    """The smallest number of members among which there is one of every majority: what all of these know, somebody among those knows.

    Of three two, as a majority; of two one, as every majority of two is both.
    """
    return count - majority(count) + 1


class Quorum:
    """One or two sets of devices; in a change the previous set comes first.

    A device that has no vote yet (it is being refilled) counts in the second set only.  What it promises and accepts there
    is durable and is what the next epoch builds upon; what it does not hold says nothing, and the previous set decides that.
    """

    __slots__ = ("_seats", "members", "needs", "set_masks", "sets")

    def __init__(self, sets: Sequence[Sequence[int]]) -> None:
        assert 1 <= len(sets) <= 2
        self.sets = tuple(tuple(devices) for devices in sets)
        self.members: tuple[int, ...] = tuple(dict.fromkeys(d for devices in self.sets for d in devices))
        self.needs = tuple(majority(len(devices)) for devices in self.sets)
        self._seats: dict[int, tuple[int, int]] = {}
        masks = []
        bit = 1
        for index, devices in enumerate(self.sets):
            assert len(set(devices)) == len(devices), f"a device twice in {devices}"
            mask = 0
            for device in devices:
                full, silent = self._seats.get(device, (0, 0))
                self._seats[device] = (full | bit, silent | bit if index else silent)
                mask |= bit
                bit <<= 1
            masks.append(mask)
        self.set_masks = tuple(masks)

    def seats(self, device: int, *, voting: bool = True) -> int:
        """The seats for which a device speaks, as a mask; those of a device that has no vote are in the second set."""
        full, silent = self._seats[device]
        return full if voting else silent

    def __contains__(self, device: int) -> bool:
        return device in self._seats

    def __repr__(self) -> str:
        return f"Quorum({self.sets!r})"


class Tally:
    """Votes on one question; each seat is counted once, the first answer stands."""

    __slots__ = ("_no", "_quorum", "_yes")

    def __init__(self, quorum: Quorum) -> None:
        self._quorum = quorum
        self._yes = 0
        self._no = 0

    def yes(self, device: int, *, voting: bool = True) -> None:
        """Count a device for it; a seat for which it cannot speak counts as lost."""
        seats = self._quorum.seats(device, voting=voting)
        self._yes |= seats & ~self._no
        if not voting:
            self._no |= self._quorum.seats(device) & ~self._yes

    def no(self, device: int) -> None:
        """Count a device against it, or as silent."""
        self._no |= self._quorum.seats(device) & ~self._yes

    def count(self, index: int) -> int:
        """Votes for it in one set."""
        return (self._yes & self._quorum.set_masks[index]).bit_count()

    @property
    def reached(self) -> bool:
        """Every set has its quorum."""
        yes = self._yes
        quorum = self._quorum
        if len(quorum.needs) == 1:
            return yes.bit_count() >= quorum.needs[0]
        return all((yes & mask).bit_count() >= need for mask, need in zip(quorum.set_masks, quorum.needs, strict=True))

    @property
    def complete(self) -> bool:
        """Every member has voted one way or the other."""
        said = self._yes | self._no
        return all(said & mask == mask for mask in self._quorum.set_masks)

    @property
    def lost(self) -> bool:
        """Some set can no longer get its quorum."""
        no = self._no
        quorum = self._quorum
        return any((mask & ~no).bit_count() < need for mask, need in zip(quorum.set_masks, quorum.needs, strict=True))
