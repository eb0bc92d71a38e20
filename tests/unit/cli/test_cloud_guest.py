"""The guest in one sector: its bytes are those of its source, and the image service takes it for a disk."""

import shutil
import subprocess
from pathlib import Path

import pytest

from objstore.cli import cloud_guest
from objstore.cli.cloud_guest import CODE, CODE_LIMIT, IMAGE_BYTES, SECTOR, tiny_image
from objstore.services.image.formats import Found, Inspection


@pytest.mark.skipif(not (shutil.which("as") and shutil.which("ld")), reason="binutils are not here, to assemble the source with")
def test_the_bytes_are_those_of_the_source(tmp_path: Path) -> None:
    source = Path(cloud_guest.__file__).with_name("tiny_guest.S")
    subprocess.run(["as", "--32", str(source), "-o", "t.o"], cwd=tmp_path, check=True)
    subprocess.run(["ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary", "t.o", "-o", "t.bin"], cwd=tmp_path, check=True)
    assert (tmp_path / "t.bin").read_bytes() == CODE


def test_it_is_a_disk_with_a_boot_sector_and_a_counter_that_begins_at_nought() -> None:
    image = tiny_image(" hello")
    assert len(image) == IMAGE_BYTES
    assert len(CODE) <= CODE_LIMIT
    assert image[: len(CODE)] == CODE
    assert image[510:512] == b"\x55\xaa"
    assert image[SECTOR : SECTOR + 9] == b"\0\0 hello\0"


def test_the_image_service_finds_nothing_dangerous_in_it() -> None:
    looked = Inspection("raw", "bare", enforce=True)
    looked.feed(tiny_image())
    assert looked.finish() == Found("gpt", IMAGE_BYTES)
