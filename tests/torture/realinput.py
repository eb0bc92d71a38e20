"""Real files through real clients: Python's standard library tree, odd names, empty files and one large file go up and come back byte for
byte through boto3, awscli, rclone, restic and s3cmd, while a node is killed and another's device is wiped.
"""

import filecmp
import os
import random
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.torture.harness import Cluster, Violation, install, retried

BIN = Path(sys.executable).parent
DEBIAN = ("rclone", "restic")
LARGE_BYTES = 200 * 1024 * 1024


def make_tree(into: Path, *, files: int, large_bytes: int) -> int:
    """Copy at most `files` files of the standard library, then add what trips stores: empty files, odd names, one large file."""
    source = Path(sysconfig.get_paths()["stdlib"])
    count = 0
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if count >= files or {"site-packages", "__pycache__"} & set(relative.parts):
            continue
        if path.is_file() and not path.is_symlink():
            target = into / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            count += 1
    odd = into / "odd names"
    odd.mkdir()
    for name in (
        "empty",
        "space in name",
        "plus+sign",
        "per%20cent",
        "ümläut-ß",
        "日本語",
        "quote'\"",
        "amp&semi;",
        "tilde~",
        "#hash",
        "a=b?c",
        "[brackets]",
        "x" * 200,
    ):
        (odd / name).write_bytes(b"" if name == "empty" else name.encode() * 7)
        count += 1
    rng = random.Random(5)
    with (into / "large.bin").open("wb") as file:
        for _ in range(large_bytes >> 20):
            file.write(rng.randbytes(1 << 20))
    return count + 1


def same(one: Path, other: Path) -> None:
    """Raises Violation when two trees differ in a name or a byte."""
    names = sorted(str(p.relative_to(one)) for p in one.rglob("*") if p.is_file())
    found = sorted(str(p.relative_to(other)) for p in other.rglob("*") if p.is_file())
    if names != found:
        raise Violation(f"names differ: {sorted(set(names) ^ set(found))[:5]}")
    _, different, errors = filecmp.cmpfiles(one, other, names, shallow=False)
    if different or errors:
        raise Violation(f"bytes differ: {(different + errors)[:5]}")


class Clients:
    """One method a client: tree up, tree down into `back`."""

    def __init__(self, cluster: Cluster, scratch: Path) -> None:
        self.cluster = cluster
        self.scratch = scratch
        info = cluster.info
        self.endpoint = info["s3"][0]
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RCLONE_", "RESTIC_"))},
            "AWS_ACCESS_KEY_ID": info["access_key"], "AWS_SECRET_ACCESS_KEY": info["secret_key"], "AWS_DEFAULT_REGION": info["region"],
            "AWS_CONFIG_FILE": str(scratch / "no-config"), "AWS_MAX_ATTEMPTS": "2", "AWS_EC2_METADATA_DISABLED": "true",
            "RESTIC_PASSWORD": "a long enough password", "RESTIC_CACHE_DIR": str(scratch / "restic-cache"), "HOME": str(scratch),
        }  # fmt: skip
        self.tls = ["--ca", info["ca_cert"]] if info.get("ca_cert") else []

    def run(self, *command: str) -> None:
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=900, check=False)
        if done.returncode:
            raise Violation(f"{' '.join(command[:4])}... exited {done.returncode}: {done.stdout[-500:]} {done.stderr[-1500:]}")

    def boto3(self, tree: Path, back: Path) -> None:
        client = self.cluster.s3(1 % len(self.cluster.info["s3"]), attempts=2, timeout_s=60)
        client.create_bucket(Bucket="boto")
        names = [str(p.relative_to(tree)) for p in tree.rglob("*") if p.is_file()]
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda name: client.upload_file(str(tree / name), "boto", name), names))

            def fetch(name: str) -> None:
                (back / name).parent.mkdir(parents=True, exist_ok=True)
                client.download_file("boto", name, str(back / name))

            list(pool.map(fetch, names))

    def awscli(self, tree: Path, back: Path) -> None:
        # By option: rclone refuses to start when AWS_CA_BUNDLE is set.
        aws = [str(BIN / "aws"), "--endpoint-url", self.endpoint, *(["--ca-bundle", self.tls[1]] if self.tls else []), "s3"]
        self.run(*aws, "mb", "s3://awscli")
        self.run(*aws, "cp", "--recursive", "--only-show-errors", str(tree), "s3://awscli/tree")
        self.run(*aws, "cp", "--recursive", "--only-show-errors", "s3://awscli/tree", str(back))

    def rclone(self, tree: Path, back: Path) -> None:
        config = self.scratch / "rclone.conf"
        config.write_text(
            "[o]\ntype = s3\nprovider = Other\nenv_auth = true\n"
            + f"endpoint = {self.endpoint}\nregion = {self.env['AWS_DEFAULT_REGION']}\n"
        )
        extra = ["--config", str(config), "--low-level-retries", "2", "--retries", "1", *(["--ca-cert", self.tls[1]] if self.tls else [])]
        self.run("rclone", "mkdir", "o:rclone", *extra)
        self.run("rclone", "copy", str(tree), "o:rclone/tree", *extra)
        self.run("rclone", "check", "--download", str(tree), "o:rclone/tree", *extra)
        self.run("rclone", "copy", "o:rclone/tree", str(back), *extra)

    def restic(self, tree: Path, back: Path) -> None:
        cacert = ["--cacert", self.tls[1]] if self.tls else []
        restic = ["restic", "-r", f"s3:{self.endpoint}/restic/repo", "-q", *cacert]
        self.run(*restic, "init")
        self.run(*restic, "backup", str(tree))
        self.run(*restic, "check", "--read-data")
        self.run(*restic, "restore", "latest", "--target", str(self.scratch / "restored"))
        shutil.move(str(self.scratch / "restored" / tree.relative_to("/")), back / "x")
        for entry in (back / "x").iterdir():
            shutil.move(str(entry), back)
        (back / "x").rmdir()

    def s3cmd(self, tree: Path, back: Path) -> None:
        host = self.endpoint.partition("//")[2]
        config = self.scratch / "s3cfg"
        secure = bool(self.tls)
        config.write_text(
            f"[default]\naccess_key = {self.env['AWS_ACCESS_KEY_ID']}\nsecret_key = {self.env['AWS_SECRET_ACCESS_KEY']}\nhost_base = {host}\n"
            f"host_bucket = {host}\nuse_https = {secure}\nsignature_v2 = False\nmax_retries = 2\n"
            + (f"ca_certs_file = {self.tls[1]}\n" if secure else "")
        )
        s3cmd = [sys.executable, str(BIN / "s3cmd"), "-c", str(config), "-q", "--no-progress"]
        self.run(*s3cmd, "mb", "s3://s3cmd")
        self.run(*s3cmd, "put", "--recursive", f"{tree}/", "s3://s3cmd/tree/")
        self.run(*s3cmd, "get", "--recursive", "s3://s3cmd/tree/", str(back) + "/")


NAMES = ("boto3", "awscli", "rclone", "restic", "s3cmd")


def real_input(directory: Path, *, files: int, large_bytes: int, port_base: int, tls: bool, faults: bool = True) -> str:
    """All clients, one after the other, each with a node killed and (for every second one) a device wiped while it runs."""
    missing = install(*DEBIAN)
    tree = directory / "tree"
    tree.mkdir(parents=True)
    count = make_tree(tree, files=files, large_bytes=large_bytes)
    cluster = Cluster(directory / "cluster", port_base=port_base, up_arguments=("--tls",) if tls else ())
    cluster.up()
    said = []
    try:
        for index, name in enumerate(NAMES):
            if name in missing:
                said.append(f"{name} NOT RUN: it is not installed and only root can install it")
                continue
            scratch = directory / f"scratch-{name}"
            back = scratch / "back"
            back.mkdir(parents=True)
            begun = time.monotonic()
            call: Callable[[Path, Path], None] = getattr(Clients(cluster, scratch), name)
            trouble = threading.Thread(target=_trouble, args=(cluster, index), daemon=True)
            if faults:
                trouble.start()
            call(tree, back)
            if faults:
                trouble.join(120)
            same(tree, back)
            shutil.rmtree(scratch)
            said.append(f"{name} {time.monotonic() - begun:.0f} s")
            print(f"{name}: {count} files up and back, equal", flush=True)
            cluster.ctl("repair", "--wait", timeout_s=600)
        audit = cluster.ctl("audit", "--wait", timeout_s=600)
        status = cluster.ctl("status")
        if not status["healthy"] or not audit.get("clean", audit.get("finished")):
            raise Violation(f"not healthy or clean at the end: {status} {audit}")
    finally:
        cluster.down()
    return f"{count} files with one of {large_bytes >> 20} MiB over {'TLS' if tls else 'HTTP'}: " + ", ".join(said)


def _trouble(cluster: Cluster, index: int) -> None:
    """kill -9 one node; then stop the next, throw its device away and start it again."""
    time.sleep(1.5)
    cluster.kill(f"node{index % 3 + 1}")
    time.sleep(5)
    if index % 2 == 0:
        victim = f"node{(index + 1) % 3 + 1}"
        device = next(node["devices"][0] for node in cluster.info["nodes"] if node["name"] == victim)
        retried(lambda: cluster.ctl("stop", victim, "--signal", "KILL"))
        shutil.rmtree(cluster.directory / device if not os.path.isabs(device) else device)
        cluster.ctl("start", victim)
