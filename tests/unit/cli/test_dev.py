"""What `objstore dev` shows."""

import ast
from pathlib import Path

from objstore.cli.dev import health_line, welcome

SUMMARY = {
    "s3": ["http://127.0.0.1:9000", "http://127.0.0.1:9001"], "region": "us-east-1", "access_key": "OKEY", "secret_key": "SKEY", "ca_cert": None,
    "metrics": ["http://127.0.0.1:9200/metrics"], "ready_s": 0.94,
}  # fmt: skip


def test_the_welcome_has_endpoint_keys_and_a_snippet_that_is_python() -> None:
    text = welcome(SUMMARY, Path("/data/x"), known=False, ephemeral=False)
    assert "ready in 0.9 s" in text
    assert "also http://127.0.0.1:9001" in text
    assert "saved in /data/x/secrets/admin.toml (mode 0600)" in text
    start = text.index("    import boto3")
    block = text[start : text.index("  Shell")]
    tree = ast.parse("\n".join(line[4:] for line in block.splitlines()))
    assert "OKEY" in ast.unparse(tree)


def test_a_known_cluster_says_that_its_keys_are_the_old_ones_and_an_ephemeral_one_that_it_goes() -> None:
    assert "as before" in welcome(SUMMARY, Path("/data/x"), known=True, ephemeral=False)
    assert "removed at the end" in welcome(SUMMARY, Path("/data/x"), known=False, ephemeral=True)


def test_the_health_line_says_what_is_wrong_and_no_more() -> None:
    nodes = [{"name": "node1", "up": True}, {"name": "node2", "up": False}]
    status = {"healthy": False, "writable": True, "under_replicated": 3, "misplaced": None, "nodes": nodes}
    assert health_line(status) == "writable, repairing: 1 of 2 nodes up, down: node2, 3 rows to copy"
    fine = {"healthy": True, "writable": True, "under_replicated": 0, "misplaced": 0, "nodes": nodes[:1]}
    assert health_line(fine) == "healthy: 1 of 1 nodes up"
    assert health_line({**status, "writable": False}).startswith("NOT WRITABLE")
    services = {**fine, "healthy": False, "services": [{"name": "services1", "up": False}]}
    assert health_line(services) == "writable, not all is well: 1 of 1 nodes up, down: services1"
