"""The command line's client of services: logging in, the catalog, errors that say why."""

import pytest

from objstore.cli.cloud_api import CloudApi, CloudError, wait
from tests.support.answers import Answer, Asked, answering
from tests.support.cloud_twin import PASSWORD, Services


def test_a_login_finds_the_services() -> None:
    services = Services()
    with answering(services) as url:
        services.url = url
        api = CloudApi(f"{url}/identity/v3", user="admin", project="admin", password=PASSWORD)
        assert (api.project_id, api.user_id, api.url("network")) == ("p1", "u1", f"{url}/network")
        assert api.find("network", "/v2.0/security-groups", "security_groups", name="default") is not None
        assert api.find("network", "/v2.0/security-groups", "security_groups", name="other") is None
        with pytest.raises(CloudError, match="no dns service; it has block-storage, compute"):
            api.url("dns")


def test_a_refusal_is_told_with_its_reason() -> None:
    services = Services()
    with answering(services) as url, pytest.raises(CloudError, match=r"POST .*/auth/tokens: 401: wrong password") as caught:
        CloudApi(f"{url}/identity/v3", user="admin", project="admin", password="wrong")
    assert caught.value.status == 401


@pytest.mark.parametrize(
    ("body", "why"), [({"NeutronError": {"message": "no room"}}, "no room"), ({"a": "b"}, "b"), (b"<html>sorry", "<html>sorry"), ([], "")]
)
def test_errors_of_all_shapes_are_shown(body: object, why: str) -> None:
    def answer(_: Asked) -> Answer:
        return Answer(500, body)

    with answering(answer) as url, pytest.raises(CloudError, match=f"500: {why}"):
        CloudApi(url, user="a", project="a", password="a")


def test_nobody_there_is_an_error_too() -> None:
    with pytest.raises(CloudError, match="refused"):
        CloudApi("http://127.0.0.1:1", user="a", project="a", password="a")


def test_what_is_waited_for_comes_or_is_named() -> None:
    answers = iter([None, 3])
    assert wait(lambda: next(answers), what="three", timeout_s=5) == 3
    with pytest.raises(CloudError, match="four: not within"):
        wait(lambda: None, what="four", timeout_s=0.1)
