"""Commands that need a cluster say so where there is none."""

from pathlib import Path

import pytest

from objstore.cli.commands import run


@pytest.mark.parametrize("words", [("du",), ("keys", "list"), ("volume", "list"), ("keys", "add", "k")])
def test_a_directory_without_a_cluster_is_answered_with_what_to_do(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    directory = tmp_path / "none"
    assert run([*words, "--dir", str(directory)]) == 2
    said = capsys.readouterr().err
    assert f"there is no cluster in {directory}" in said
    assert f"objstore dev --dir {directory}" in said
