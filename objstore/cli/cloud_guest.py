"""The smallest image that a cloud can offer: a guest in one sector, which counts its boots on its disks (tiny_guest.S says how).

It boots in a fifth of a second, needs 16 MiB of memory and no operating system, and proves what a first server is to prove: that an image became a
disk, that the disk keeps what is written, that the console can be read, and that the power button works.
"""

SECTOR = 512
IMAGE_BYTES = 1024 * 1024  # firmware finds no geometry for a disk of less than half of it
CODE_LIMIT = 440  # where the table of partitions and what stands before it begin
# One entry: without any, a disk does not count as one, neither for programs that look at partitions nor for the image service.
PARTITION = bytes((0x80, 0, 2, 0, 0xDA, 0, 2, 0)) + (1).to_bytes(4, "little") + (127).to_bytes(4, "little")

CODE = bytes.fromhex(
    "fa31c08ed88ec08ed0bc007cfbfcbe567db442e8e300722aff06007eb80043e8d700721ea1007ee8db00be027ee8f300fe06557dfe06667dbe637d803e557d8475cf803e"
    "557d807506be697de8d400b801e8cd15c1e90a83c20fc1ea04678d441101be877de89d00ba1005b80500ef42ec98be8d7de88d00be947de8a500ba0206b80001eff466bd"
    "002000806689e8e85d00663d361b0c00751467668d456ce84d00660fbae01073050d000766ef81c5000181fd004075d4ba0006edf6c401751fbafd03eca80174bcbaf803"
    "ec3c04740f3c127405e85500ebdebaf90cb006eebe977de83d00ba0406b80020efeb96baf80c66efb2fc66edc356be457d8a16557dcd135ec350e81a0058b90a0031db31"
    "d2f7f1524385c075f6580430e80e004b75f7c3ac84c0741ce80200ebf653bb0700b40ecd105b50bafd03eca82074fb58baf803eec310000100007e000001000000000000"
    "00800d0a54494e5920626f6f743d00207664613d003f206e6f206469736b20746861742063616e206265207772697474656e00206d656d3d0020637075733d000d0a000d"
    "0a54494e59206f66660d0a00"
)


def tiny_image(text: str = "") -> bytes:
    """A raw disk; the guest says `text` (ASCII, 500 characters at most) each time behind the number of its boots."""
    said = text.encode("ascii")
    assert len(said) <= SECTOR - 12
    assert len(CODE) <= CODE_LIMIT
    boot = CODE.ljust(446, b"\0") + PARTITION + bytes(48) + b"\x55\xaa"
    return (boot + b"\0\0" + said).ljust(IMAGE_BYTES, b"\0")
