"""Which of two replicas' registers wins: the union of keys, per key the higher accepted ballot and the higher promise.

Commutative, associative and idempotent, so replicas that exchange registers in any order and any number of times end
equal (a property test says so).
"""

from collections.abc import Iterable, Mapping

from objstore.core.rows import EMPTY, Register, RowKey


def merge_registers(one: Register, other: Register) -> Register:
    """The register that knows what both know.

    One ballot names one row; should damage ever break that, the larger bytes win, so that replicas still end equal.
    """
    accepted, row = max((one.accepted, one.row), (other.accepted, other.row))
    return Register(promised=max(one.promised, other.promised), accepted=accepted, row=row)


def merge_holdings(one: Mapping[RowKey, Register], other: Mapping[RowKey, Register]) -> dict[RowKey, Register]:
    """Union of two replicas, register by register; versions are keys of their own."""
    merged = dict(one)
    for key, register in other.items():
        merged[key] = merge_registers(merged.get(key, EMPTY), register)
    return merged


def top_of(registers: Iterable[Register]) -> Register:
    """The register with the highest accepted ballot; EMPTY when none holds anything."""
    top = EMPTY
    for register in registers:
        if register.accepted > top.accepted:
            top = register
    return top
