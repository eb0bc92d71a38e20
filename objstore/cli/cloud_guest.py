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
    "fa31c08ed88ec08ed0bc007cfbfcbe1a7db442e8a700722aff06007eb80043e89b00721ea1007ee89f00be027ee8b700fe06197dfe062a7dbe277d803e197d8475cf"
    "803e197d807506be2d7de89800b801e8cd15c1e90a83c20fc1ea04678d441101be4b7de86100ba1005b80500ef42ec98be517de85100be587de86900ba0206b80001"
    "eff4ba0006edf6c401751fbafd03eca80174eebaf803ec3c04740f3c127405e84b00ebdebaf90cb006eebe5b7de83300ba0406b80020efebc856be097d8a16197dcd"
    "135ec350e81a0058b90a0031db31d2f7f1524385c075f6580430e80e004b75f7c3ac84c0741ce80200ebf653bb0700b40ecd105b50bafd03eca82074fb58baf803ee"
    "c310000100007e00000100000000000000800d0a54494e5920626f6f743d00207664613d003f206e6f206469736b20746861742063616e206265207772697474656e"
    "00206d656d3d0020637075733d000d0a000d0a54494e59206f66660d0a00"
)


def tiny_image(text: str = "") -> bytes:
    """A raw disk; the guest says `text` (ASCII, 500 characters at most) each time behind the number of its boots."""
    said = text.encode("ascii")
    assert len(said) <= SECTOR - 12
    assert len(CODE) <= CODE_LIMIT
    boot = CODE.ljust(446, b"\0") + PARTITION + bytes(48) + b"\x55\xaa"
    return (boot + b"\0\0" + said).ljust(IMAGE_BYTES, b"\0")
