"""What a jailed program can and cannot do."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from objstore.runtime.commands import CommandFailed
from objstore.runtime.jail import Bounds, give, run_jailed, socket_directory, spooled
from objstore.runtime.tasks import ThreadPool

BOUNDS = Bounds(1 << 30, 20.0, 64_055)
as_root = pytest.mark.skipif(bool(os.geteuid()), reason="only root can become another user")


def shell(text: str, *, bounds: Bounds = BOUNDS) -> tuple[int, str]:
    output = asyncio.run(run_jailed("sh", "-c", text, bounds=bounds))
    return output.code, output.stdout.decode()


@as_root
def test_it_is_a_user_without_rights_in_a_network_with_nothing_in_it() -> None:
    assert shell("id -u; id -G")[1].split() == ["64055", "64055"]
    assert [line.split(":")[0].strip() for line in shell("cat /proc/net/dev")[1].splitlines()[2:]] == ["lo"]
    assert "CapEff:\t0000000000000000" in shell("cat /proc/self/status")[1]
    assert "NoNewPrivs:\t1" in shell("cat /proc/self/status")[1]


def test_it_writes_no_files_and_ends_in_time(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert shell(f"echo x > {tmp_path}/f; cat {tmp_path}/f")[1] == ""
    with pytest.raises(CommandFailed):
        shell("sleep 10", bounds=Bounds(1 << 30, 0.2, 64_055))


def test_it_reads_what_was_spooled_for_it_and_nothing_stays(tmp_path: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"some "
        yield b"bytes"

    async def main() -> None:
        threads = ThreadPool("t", 1)
        async with spooled(chunks(), str(tmp_path / "spool"), threads) as descriptor:
            assert list((tmp_path / "spool").iterdir()) == []
            output = await run_jailed("cat", f"/proc/self/fd/{descriptor}", bounds=BOUNDS, pass_fds=(descriptor,))
            assert output.stdout == b"some bytes"
            output = await run_jailed("sh", "-c", f"echo x >&{descriptor}", bounds=BOUNDS, pass_fds=(descriptor,))
            assert output.code
        threads.close()

    asyncio.run(main())


def test_a_directory_for_a_socket_goes_with_what_is_in_it() -> None:
    with socket_directory(BOUNDS) as path:
        Path(path, "s").touch()
        give(f"{path}/s", BOUNDS)
        assert Path(path).stat().st_mode & 0o777 == 0o700
    assert not Path(path).exists()
