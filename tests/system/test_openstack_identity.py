"""The identity service on real processes: many clients at once, keys of S3, tokens at the Swift dialect, a crash of everything."""

import json
import os
import signal
import ssl
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.support.cluster import Cluster, is_running, running_cluster, wait_until

CLIENTS = 8
EACH = int(os.environ.get("IDENTITY_THINGS", "336"))  # users, projects and role assignments; IDENTITY_THINGS=1000 for the long run


class Cloud:
    """A client of the identity service."""

    def __init__(self, cluster: Cluster) -> None:
        self.url = cluster.info["identity"]
        self._context = ssl.create_default_context(cafile=cluster.info["ca_cert"]) if cluster.info["ca_cert"] else None
        self.token = ""

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any, Any]:
        """Status, document, headers."""
        data = None if body is None else json.dumps(body).encode()
        url = path if path.startswith("http") else self.url + path
        request = urllib.request.Request(url, data=data, method=method, headers={"X-Auth-Token": self.token} if self.token else {})
        try:
            with urllib.request.urlopen(request, context=self._context, timeout=60) as answer:
                raw = answer.read()
                return answer.status, json.loads(raw) if raw[:1] in (b"{", b"[") else raw, answer.headers
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read(), refused.headers

    def log_in(self, user: str, password: str, project: str | None = None) -> int:
        """Log in; the status."""
        named = {"user": {"name": user, "domain": {"id": "default"}, "password": password}}
        auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": named}}
        if project:
            auth["scope"] = {"project": {"id": project}}
        status, _, headers = self.ask("POST", "/auth/tokens", {"auth": auth})
        if status == 201:
            self.token = headers["X-Subject-Token"]
        return status

    def made(self, path: str, kind: str, **fields: Any) -> Any:
        """What a POST made."""
        status, body, _ = self.ask("POST", path, {kind: fields})
        assert status == 201, body
        return body[kind]


def administrator(cluster: Cluster) -> Cloud:
    cloud = Cloud(cluster)
    assert cloud.log_in("admin", cluster.info["admin"]["password"]) == 201
    return cloud


@pytest.mark.parametrize("tls", [False, True])
def test_a_user_gets_a_project_with_a_key_of_s3_and_both_outlive_a_crash(tmp_path: Path, tls: bool) -> None:
    with running_cluster(tmp_path / "c", "--proxies", "2", *(["--tls"] if tls else [])) as cluster:
        admin = administrator(cluster)
        project = admin.made("/projects", "project", name="team")["id"]
        user = admin.made("/users", "user", name="jane", password="a long password", default_project_id=project)["id"]
        roles = {role["name"]: role["id"] for role in admin.ask("GET", "/roles")[1]["roles"]}
        grant = f"/projects/{project}/users/{user}/roles/{roles['member']}"
        assert admin.ask("PUT", grant)[0] == 204
        jane = Cloud(cluster)
        assert jane.log_in("jane", "a long password") == 201
        key = jane.ask("POST", f"/users/{user}/credentials/OS-EC2", {"tenant_id": project})[1]["credential"]

        def s3(proxy: int) -> Any:
            return boto3.client(
                "s3", endpoint_url=cluster.info["s3"][proxy], aws_access_key_id=key["access"], aws_secret_access_key=key["secret"],
                region_name="us-east-1", verify=cluster.info["ca_cert"], config=Config(retries={"max_attempts": 1}),
            )  # fmt: skip

        s3(1).create_bucket(Bucket="janes")
        s3(0).put_object(Bucket="janes", Key="k", Body=b"x")
        swift = f"{cluster.info['s3'][1]}/v1/AUTH_{project}/janes/k"
        assert jane.ask("GET", swift)[:2] == (200, b"x")
        pids = cluster.all_pids()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(is_running(pid) for pid in pids), 10, "the processes are gone")
        cluster.up()
        assert jane.ask("GET", "/auth/projects")[1]["projects"][0]["id"] == project
        assert s3(0).get_object(Bucket="janes", Key="k")["Body"].read() == b"x"
        assert administrator(cluster).ask("DELETE", grant)[0] == 204

        def refused() -> bool:
            try:
                s3(1).list_buckets()
            except ClientError as error:
                return error.response["Error"]["Code"] == "InvalidAccessKeyId"
            return False

        wait_until(refused, 5, "the key is worth nothing without a role")
        wait_until(lambda: jane.ask("GET", swift)[0] == 401, 5, "nor is the token")
        secrets = (key["secret"], "a long password", jane.token, cluster.info["admin"]["password"])
        logs = "".join(path.read_text() for path in (tmp_path / "c" / "log").iterdir())
        assert not [secret for secret in secrets if secret in logs]


def test_the_key_of_tokens_is_changed_under_way_and_all_processes_follow(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "c", "--proxies", "2") as cluster:
        admin, later = administrator(cluster), Cloud(cluster)
        swift = [f"{url}/v1/AUTH_admin" for url in cluster.info["s3"]]
        assert [admin.ask("GET", url)[0] for url in swift] == [204, 204]
        states = {key["number"]: key["state"] for key in cluster.ctl("rotate-token-keys")["token_keys"]}
        assert states == {0: "secondary", 1: "primary", 2: "staged"}
        wait_until(lambda: admin.ask("GET", "/OS-OBJSTORE/token_keys")[1]["token_keys"][1]["state"] == "primary", 5, "the service knows")
        assert later.log_in("admin", cluster.info["admin"]["password"]) == 201
        for cloud in (admin, later):  # tokens of the old key and of the new one, at once in every process
            assert cloud.ask("GET", "/auth/projects")[0] == 200
            assert [cloud.ask("GET", url)[0] for url in swift] == [204, 204]
        cluster.ctl("rotate-token-keys", "--revoke")
        for url in (f"{cluster.info['identity']}/auth/projects", *swift):
            wait_until(
                lambda url=url: [cloud.ask("GET", url)[0] for cloud in (admin, later)] == [401, 401], 5, "tokens from before are void"
            )
        assert later.log_in("admin", cluster.info["admin"]["password"]) == 201
        wait_until(lambda: [later.ask("GET", url)[0] for url in swift] == [204, 204], 5, "new ones are good")


def test_eight_clients_make_and_remove_things_without_one_500_and_leave_nothing_half_made(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "c", "--proxies", "1") as cluster:
        admin = administrator(cluster)
        role = next(role["id"] for role in admin.ask("GET", "/roles?name=member")[1]["roles"])

        def contended(name: str) -> set[int]:
            """All clients want the same name at about the same time; who gets it gives it back."""
            seen: set[int] = set()
            for path, kind in (("/projects", "project"), ("/users", "user")):
                status, body, _ = admin.ask("POST", path, {kind: {"name": name}})
                seen.add(status)
                if status == 201:
                    seen.add(admin.ask("DELETE", f"{path}/{body[kind]['id']}")[0])
            return seen

        def client(number: int) -> tuple[set[int], set[int]]:
            seen: set[int] = set()
            wanted: set[int] = set()
            for turn in range(EACH // CLIENTS):
                name = f"{number}-{turn}"
                project = admin.made("/projects", "project", name=name)["id"]
                user = admin.made("/users", "user", name=name)["id"]
                for method, path in (
                    ("PUT", f"/projects/{project}/users/{user}/roles/{role}"),
                    ("DELETE", f"/users/{user}"),
                    ("DELETE", f"/projects/{project}"),
                ):
                    seen.add(admin.ask(method, path)[0])
                if turn % 10 == 0:
                    wanted |= contended(f"all-{turn}")
            return seen, wanted

        began = time.monotonic()
        with ThreadPoolExecutor(CLIENTS) as pool:
            ended = list(pool.map(client, range(CLIENTS)))
        print(f"{EACH // CLIENTS * CLIENTS} users, projects and assignments in {time.monotonic() - began:.1f} s")
        assert set().union(*(seen for seen, _ in ended)) == {204}
        assert set().union(*(wanted for _, wanted in ended)) <= {201, 204, 409}
        assert [project["id"] for project in admin.ask("GET", "/projects")[1]["projects"]] == ["admin"]
        assert [user["name"] for user in admin.ask("GET", "/users")[1]["users"]] == ["admin"]
        assert len(admin.ask("GET", "/role_assignments")[1]["role_assignments"]) == 3
        for name in ("0-0", "7-0", "all-0"):  # a name is free again, and whole
            assert admin.made("/projects", "project", name=name)["name"] == name
            assert admin.made("/users", "user", name=name)["name"] == name
