"""Sizes that the protocol's text gives."""

from objstore.services.volume.nbd import protocol as nbd


def test_messages_have_the_sizes_that_the_protocol_gives_them() -> None:
    assert (nbd.GREETING.size, nbd.OPTION.size, nbd.OPTION_REPLY.size, nbd.EXPORT.size) == (18, 16, 20, 10)
    assert (nbd.REQUEST.size, nbd.SIMPLE_REPLY.size, nbd.STRUCTURED_REPLY.size, nbd.OFFSET_DATA.size, nbd.OFFSET_HOLE.size) == (
        28,
        16,
        20,
        28,
        32,
    )


def test_commands_are_numbered_as_the_protocol_numbers_them() -> None:
    assert (nbd.CMD_READ, nbd.CMD_WRITE, nbd.CMD_DISC, nbd.CMD_FLUSH, nbd.CMD_TRIM, nbd.CMD_CACHE) == (0, 1, 2, 3, 4, 5)
    assert (nbd.CMD_WRITE_ZEROES, nbd.CMD_BLOCK_STATUS) == (6, 7)
    assert nbd.REP_ERR_UNKNOWN == 0x80000006
