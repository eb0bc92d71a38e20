"""Temporary credentials: who gets them, for how long, and what they are worth."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from objstore.fronts.iam.call import Call
from objstore.fronts.iam.sts import ACTIONS
from objstore.identity.changes import Changes
from objstore.identity.directory import Directory, fixed_id
from objstore.identity.entities import ROLE, USER, Holder, IdentityRefused, WebProvider
from objstore.identity.tenancy import AppCredential, Credential
from objstore.identity.tokens import Session, TokenSealer
from objstore.runtime.rng import SystemRng
from tests.support.iam_server import CLUSTER_KEY, iam_serving, service
from tests.support.identity_rig import ACME, Rig
from tests.support.memory_cluster import memory_world, run
from tests.support.policies import identity_policy, trust_policy
from tests.support.s3_raw import Answer, call, send
from tests.support.s3_server import ALICE, BOB, Running, User, make_certificate
from tests.support.web_tokens import key_set, make_token

Refused = Callable[..., tuple[str, int]]
FULL = "arn:aws:iam::aws:policy/AmazonS3FullAccess"


@pytest.fixture
def sts(server: Running) -> Any:
    return service(server, "sts", parameter_validation=False)


def role_trusting(iam: Any, name: str, principal: Any, **more: Any) -> str:
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust_policy(principal, **more))["Role"]["Arn"]
    return arn


def test_callers_are_told_who_they_are(server: Running, sts: Any, user: str, keys: dict[str, str], refused: Refused) -> None:
    found = sts.get_caller_identity()
    assert (found["Arn"], found["Account"]) == ("arn:aws:iam::alice:user/alice", "alice")
    found = service(server, "sts", keys).get_caller_identity()
    assert found["Arn"] == f"arn:aws:iam::alice:user/{user}"
    assert found["UserId"].startswith("AIDA")
    wrong = {**keys, "SecretAccessKey": "x" * 40}
    assert refused(service(server, "sts", wrong).get_caller_identity) == ("SignatureDoesNotMatch", 403)
    unknown = {**keys, "AccessKeyId": "AKIANOBODY"}
    assert refused(service(server, "sts", unknown).get_caller_identity) == ("InvalidClientTokenId", 403)


def test_a_role_is_assumed_by_whom_it_trusts(
    iam: Any, server: Running, sts: Any, user: str, keys: dict[str, str], s3: Any, refused: Refused
) -> None:
    arn = role_trusting(iam, user, {"AWS": f"arn:aws:iam::alice:user/{user}"})
    iam.attach_role_policy(RoleName=user, PolicyArn=FULL)
    got = service(server, "sts", keys).assume_role(RoleArn=arn, RoleSessionName="work")
    assert got["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::alice:assumed-role/{user}/work"
    credentials = got["Credentials"]
    assert credentials["AccessKeyId"].startswith("ASIA")
    assert 3590 <= credentials["Expiration"].timestamp() - time.time() <= 3601
    assert service(server, "sts", credentials).get_caller_identity()["Arn"] == f"arn:aws:sts::alice:assumed-role/{user}/work"
    own = service(server, "s3", credentials)
    assert own.get_object(Bucket="alices", Key="k")["Body"].read() == b"data"
    assert refused(sts.assume_role, RoleArn=arn, RoleSessionName="work") == ("AccessDenied", 403)
    assert refused(service(server, "sts", BOB).assume_role, RoleArn=arn, RoleSessionName="work") == ("AccessDenied", 403)
    assert refused(sts.assume_role, RoleArn="arn:aws:iam::alice:role/no-such-role", RoleSessionName="work") == ("AccessDenied", 403)
    iam.detach_role_policy(RoleName=user, PolicyArn=FULL)
    iam.delete_role(RoleName=user)
    assert refused(own.get_object, Bucket="alices", Key="k") == ("InvalidToken", 400)
    role_trusting(iam, user, "*")
    iam.attach_role_policy(RoleName=user, PolicyArn=FULL)
    assert refused(own.get_object, Bucket="alices", Key="k") == ("InvalidToken", 400)  # made again, it is another role


def test_who_is_trusted_by_account_needs_a_policy_of_their_own(
    iam: Any, server: Running, sts: Any, user: str, keys: dict[str, str], refused: Refused
) -> None:
    arn = role_trusting(iam, user, {"AWS": "arn:aws:iam::alice:root"})
    own = service(server, "sts", keys)
    assert refused(own.assume_role, RoleArn=arn, RoleSessionName="work") == ("AccessDenied", 403)
    iam.put_user_policy(UserName=user, PolicyName="assume", PolicyDocument=identity_policy("sts:AssumeRole", resource=arn))
    own.assume_role(RoleArn=arn, RoleSessionName="work")
    sts.assume_role(RoleArn=arn, RoleSessionName="work")
    iam.put_user_policy(UserName=user, PolicyName="never", PolicyDocument=identity_policy("sts:*", effect="Deny"))
    assert refused(own.assume_role, RoleArn=arn, RoleSessionName="work") == ("AccessDenied", 403)


def test_an_arn_without_an_account_means_the_roles_own(
    iam: Any, server: Running, user: str, keys: dict[str, str], refused: Refused
) -> None:
    role_trusting(iam, user, {"AWS": f"arn:aws:iam:::user/{user}"})
    service(server, "sts", keys).assume_role(RoleArn=f"arn:aws:iam:::role/{user}", RoleSessionName="work")
    arn = f"arn:aws:iam::alice:role/{user}"
    assert refused(service(server, "sts", BOB).assume_role, RoleArn=arn, RoleSessionName="work") == ("AccessDenied", 403)


def test_a_denial_of_the_callers_own_outweighs_trust(iam: Any, server: Running, user: str, keys: dict[str, str], refused: Refused) -> None:
    arn = role_trusting(iam, user, {"AWS": f"arn:aws:iam::alice:user/{user}"})
    own = service(server, "sts", keys)
    own.assume_role(RoleArn=arn, RoleSessionName="work")
    iam.put_user_policy(UserName=user, PolicyName="never", PolicyDocument=identity_policy("sts:AssumeRole", effect="Deny"))
    assert refused(own.assume_role, RoleArn=arn, RoleSessionName="work") == ("AccessDenied", 403)


def test_another_account_needs_trust_and_its_own_consent(iam: Any, server: Running, name: str, refused: Refused) -> None:
    arn = role_trusting(iam, name, {"AWS": "arn:aws:iam::bob:root"})
    got = service(server, "sts", BOB).assume_role(RoleArn=arn, RoleSessionName="guest")
    assert service(server, "sts", got["Credentials"]).get_caller_identity()["Account"] == "alice"
    bobs = service(server, "iam", BOB)
    bobs.create_user(UserName=name)
    keys = bobs.create_access_key(UserName=name)["AccessKey"]
    assert refused(service(server, "sts", keys).assume_role, RoleArn=arn, RoleSessionName="guest") == ("AccessDenied", 403)


def test_conditions_of_trust_hold(iam: Any, sts: Any, name: str, refused: Refused) -> None:
    arn = role_trusting(iam, name, {"AWS": "arn:aws:iam::alice:root"}, Condition={"StringEquals": {"sts:ExternalId": "42"}})
    assert refused(sts.assume_role, RoleArn=arn, RoleSessionName="work") == ("AccessDenied", 403)
    assert refused(sts.assume_role, RoleArn=arn, RoleSessionName="work", ExternalId="43") == ("AccessDenied", 403)
    sts.assume_role(RoleArn=arn, RoleSessionName="work", ExternalId="42")


def test_durations_have_limits(iam: Any, server: Running, sts: Any, name: str, refused: Refused) -> None:
    arn = role_trusting(iam, name, {"AWS": "arn:aws:iam::alice:root"})
    for seconds in (899, 3601, 43_200):
        assert refused(sts.assume_role, RoleArn=arn, RoleSessionName="work", DurationSeconds=seconds) == ("ValidationError", 400)
    iam.update_role(RoleName=name, MaxSessionDuration=43_200)
    credentials = sts.assume_role(RoleArn=arn, RoleSessionName="work", DurationSeconds=43_200)["Credentials"]
    iam.attach_role_policy(RoleName=name, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    chained = service(server, "sts", credentials, parameter_validation=False)
    assert refused(chained.assume_role, RoleArn=arn, RoleSessionName="again", DurationSeconds=3601) == ("ValidationError", 400)
    chained.assume_role(RoleArn=arn, RoleSessionName="again")
    for seconds in (899, 129_601):
        assert refused(sts.get_session_token, DurationSeconds=seconds) == ("ValidationError", 400)
    assert refused(chained.get_session_token) == ("AccessDenied", 403)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"RoleSessionName": "a b"}, "ValidationError"),
        ({"RoleArn": "arn:aws:iam::alice:user/alice"}, "ValidationError"),
        ({"Policy": "{"}, "MalformedPolicyDocument"),
        ({"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/NoSuchPolicy"}]}, "ValidationError"),
    ],
)
def test_parameters_are_checked(iam: Any, sts: Any, name: str, parameters: dict[str, Any], code: str, refused: Refused) -> None:
    arn = role_trusting(iam, name, {"AWS": "arn:aws:iam::alice:root"})
    assert refused(sts.assume_role, **{"RoleArn": arn, "RoleSessionName": "work", **parameters}) == (code, 400)


def test_session_tokens_of_a_user_are_the_user(server: Running, sts: Any, s3: Any, refused: Refused) -> None:
    credentials = sts.get_session_token()["Credentials"]
    own = service(server, "s3", credentials)
    assert own.get_object(Bucket="alices", Key="k")["Body"].read() == b"data"
    url = own.generate_presigned_url("get_object", Params={"Bucket": "alices", "Key": "k"})
    import urllib.request

    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"data"
    old = service(server, "s3", credentials, signature_version="s3")
    assert old.get_object(Bucket="alices", Key="k")["Body"].read() == b"data"
    with urllib.request.urlopen(old.generate_presigned_url("get_object", Params={"Bucket": "alices", "Key": "k"})) as answer:
        assert answer.read() == b"data"
    for change in ({"SessionToken": "x"}, {"SessionToken": credentials["SessionToken"][:-4] + "AAA="}):
        assert refused(service(server, "s3", {**credentials, **change}).list_buckets) == ("InvalidToken", 400)
    other = sts.get_session_token()["Credentials"]
    assert refused(service(server, "s3", {**credentials, "SessionToken": other["SessionToken"]}).list_buckets) == ("InvalidToken", 400)
    without = {name: value for name, value in credentials.items() if name != "SessionToken"}
    assert refused(service(server, "s3", without).list_buckets) == ("InvalidAccessKeyId", 403)
    assert (
        refused(
            service(server, "s3", {"AccessKeyId": ALICE.access_key, "SecretAccessKey": ALICE.secret_key, "SessionToken": "x"}).list_buckets
        )[0]
        == "InvalidToken"
    )


def test_an_expired_token_is_worth_nothing(server: Running, refused: Refused) -> None:
    now = int(time.time())
    session = Session(1, "ASIAOLD", "s", "alice", "user/alice", fixed_id(ALICE), "alice", now - 1000, now - 1)
    token = TokenSealer(CLUSTER_KEY, SystemRng()).seal(session)
    credentials = {"AccessKeyId": "ASIAOLD", "SecretAccessKey": "s", "SessionToken": token}
    assert refused(service(server, "s3", credentials).list_buckets) == ("ExpiredToken", 400)
    assert refused(service(server, "sts", credentials).get_caller_identity)[0] == "ExpiredToken"


# -- web identities -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["http", "https"])
def web(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    provider = WebProvider(1, "alice", "issuer.example/realm", 0, ("app",), keys=key_set())
    tls = make_certificate(tmp_path_factory.mktemp("tls")) if request.param == "https" else None
    with iam_serving(providers=(provider,), tls=tls) as running:
        iam = service(running, "iam")
        principal = {"Federated": "arn:aws:iam::alice:oidc-provider/issuer.example/realm"}
        condition = {"StringEquals": {"issuer.example/realm:aud": "app", "issuer.example/realm:sub": "me"}}
        trust = trust_policy(principal, action="sts:AssumeRoleWithWebIdentity", Condition=condition)
        iam.create_role(RoleName="web", AssumeRolePolicyDocument=trust)
        iam.create_role(RoleName="people", AssumeRolePolicyDocument=trust_policy("*"))
        yield running


def claims(**change: Any) -> dict[str, Any]:
    now = int(time.time())
    return {"iss": "https://issuer.example/realm", "sub": "me", "aud": "app", "exp": now + 60, "iat": now, **change}


def exchange(web: Running, token: str, role: str = "web", **more: Any) -> Any:
    from botocore import UNSIGNED

    client = service(web, "sts", signature_version=UNSIGNED, parameter_validation=False)
    return client.assume_role_with_web_identity(
        RoleArn=f"arn:aws:iam::alice:role/{role}", RoleSessionName="me", WebIdentityToken=token, **more
    )


def test_a_web_token_is_exchanged_for_credentials(web: Running) -> None:
    for algorithm in ("RS256", "ES256"):
        got = exchange(web, make_token(claims(), algorithm))
        assert (got["SubjectFromWebIdentityToken"], got["Provider"], got["Audience"]) == ("me", "issuer.example/realm", "app")
        assert service(web, "sts", got["Credentials"]).get_caller_identity()["Arn"] == "arn:aws:sts::alice:assumed-role/web/me"
    limited = exchange(web, make_token(claims()), Policy=identity_policy("s3:GetObject"))
    assert service(web, "sts", limited["Credentials"]).get_caller_identity()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"sub": "you"}, "AccessDenied"),
        ({"aud": "other"}, "InvalidIdentityToken"),
        ({"iss": "https://other"}, "InvalidIdentityToken"),
        ({"exp": 1}, "ExpiredTokenException"),
    ],
)
def test_other_web_tokens_are_refused(web: Running, change: dict[str, Any], code: str, refused: Refused) -> None:
    assert refused(exchange, web=web, token=make_token(claims(**change)))[0] == code


def test_a_web_identity_does_not_become_a_role_for_others(web: Running, refused: Refused) -> None:
    assert refused(exchange, web=web, token=make_token(claims()), role="people") == ("AccessDenied", 403)
    assert refused(exchange, web=web, token=make_token(claims()), role="none") == ("AccessDenied", 403)
    assert refused(exchange, web=web, token="nonsense") == ("InvalidIdentityToken", 400)
    assert json.loads(key_set())["keys"]


def test_temporary_credentials_of_a_user_renew_nothing_and_make_no_lasting_ones(
    iam: Any, server: Running, user: str, keys: dict[str, str], refused: Refused
) -> None:
    iam.attach_user_policy(UserName=user, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    got = service(server, "sts", keys).get_session_token()["Credentials"]
    assert refused(service(server, "sts", got).get_session_token) == ("AccessDenied", 403)
    assert refused(service(server, "iam", got).create_access_key, UserName=user) == ("InvalidClientTokenId", 403)
    assert refused(service(server, "iam", got).list_users) == ("InvalidClientTokenId", 403)
    assert service(server, "sts", got).get_caller_identity()["Arn"] == f"arn:aws:iam::alice:user/{user}"


def test_tags_of_a_session_need_a_right_of_their_own(iam: Any, server: Running, user: str, keys: dict[str, str], refused: Refused) -> None:
    trusted = {"AWS": f"arn:aws:iam::alice:user/{user}"}
    arn, own = role_trusting(iam, user, trusted), service(server, "sts", keys)
    tagged: dict[str, Any] = {"RoleArn": arn, "RoleSessionName": "work", "Tags": [{"Key": "team", "Value": "finance"}]}
    assert refused(own.assume_role, **tagged) == ("AccessDenied", 403)
    own.assume_role(RoleArn=arn, RoleSessionName="work")
    both = trust_policy(trusted, action=["sts:AssumeRole", "sts:TagSession"])
    iam.update_assume_role_policy(RoleName=user, PolicyDocument=both)
    own.assume_role(**tagged)
    narrow = trust_policy(
        trusted, action=["sts:AssumeRole", "sts:TagSession"], Condition={"StringEquals": {"aws:RequestTag/team": "sales"}}
    )
    iam.update_assume_role_policy(RoleName=user, PolicyDocument=narrow)
    assert refused(own.assume_role, **tagged) == ("AccessDenied", 403)


FOREIGN = {"UserName": "alice", "GroupName": "g", "RoleName": "r", "AccountId": "bob", "UserId": "AIDA", "AccessKeyId": "AKALICE"}


def ask_sts(server: Running, keys: dict[str, str], action: str, **parameters: str) -> Answer:
    who = User("alice", "x", keys["AccessKeyId"], keys["SecretAccessKey"])
    body = urlencode({"Action": action, "Version": "2011-06-15", **parameters}).encode()
    return call(server, "POST", "/", body, {"Content-Type": "application/x-www-form-urlencoded"}, user=who, service="sts")


@pytest.mark.parametrize("action", ACTIONS)
def test_no_parameter_of_a_call_says_who_calls(
    iam: Any, server: Running, user: str, keys: dict[str, str], s3: Any, action: str, refused: Refused
) -> None:
    arn = role_trusting(iam, user, {"AWS": f"arn:aws:iam::alice:user/{user}"})
    own = {"RoleArn": arn, "RoleSessionName": "work", "WebIdentityToken": "none"}
    for name, value in FOREIGN.items():
        answer = ask_sts(server, keys, action, **own, **{name: value})
        if answer.status == 200 and answer.value("SessionToken"):
            got = {part: answer.value(part) for part in ("AccessKeyId", "SecretAccessKey", "SessionToken")}
            found = service(server, "sts", got).get_caller_identity()["Arn"]
            assert found in (f"arn:aws:iam::alice:user/{user}", f"arn:aws:sts::alice:assumed-role/{user}/work"), name
            assert refused(service(server, "s3", got).list_buckets) == ("AccessDenied", 403), name
        elif answer.status == 200:
            assert answer.value("Arn") == f"arn:aws:iam::alice:user/{user}", name
    if action == "GetSessionToken":
        answer = ask_sts(server, keys, action, UserName=user)
        assert (answer.status, answer.value("Code")) == (400, "ValidationError")


@pytest.mark.parametrize("action", sorted(set(ACTIONS) - {"AssumeRoleWithWebIdentity"}))
def test_calls_that_must_be_signed_are_refused_to_nobody(server: Running, action: str) -> None:
    body = urlencode({"Action": action, "RoleArn": "arn:aws:iam::alice:role/r", "RoleSessionName": "work", "UserName": "alice"}).encode()
    answer = send(server, "POST", "/", body, {"Content-Type": "application/x-www-form-urlencoded"})
    assert (answer.status, answer.value("Code")) == (403, "MissingAuthenticationToken")


def test_session_policies_are_those_of_the_roles_account(iam: Any, server: Running, name: str, refused: Refused) -> None:
    arn = role_trusting(iam, name, {"AWS": "arn:aws:iam::bob:root"})
    alices = iam.create_policy(PolicyName=name, PolicyDocument=identity_policy("s3:*"))["Policy"]["Arn"]
    bobs = service(server, "iam", BOB).create_policy(PolicyName=name, PolicyDocument=identity_policy("s3:*"))["Policy"]["Arn"]
    own = service(server, "sts", BOB)
    own.assume_role(RoleArn=arn, RoleSessionName="guest", PolicyArns=[{"arn": alices}])
    assert refused(own.assume_role, RoleArn=arn, RoleSessionName="guest", PolicyArns=[{"arn": bobs}]) == ("ValidationError", 400)


REVOKED = {"Condition": {"DateLessThan": {"aws:TokenIssueTime": "2099-01-01T00:00:00Z"}}}
NOT_YET = {"Condition": {"DateLessThan": {"aws:TokenIssueTime": "2020-01-01T00:00:00Z"}}}


def test_sessions_from_before_a_time_are_revoked(
    iam: Any, server: Running, sts: Any, user: str, keys: dict[str, str], s3: Any, refused: Refused
) -> None:
    arn = role_trusting(iam, user, {"AWS": "arn:aws:iam::alice:root"})
    iam.attach_role_policy(RoleName=user, PolicyArn=FULL)
    iam.attach_user_policy(UserName=user, PolicyArn=FULL)
    role = service(server, "s3", sts.assume_role(RoleArn=arn, RoleSessionName="work")["Credentials"])
    session = service(server, "s3", service(server, "sts", keys).get_session_token()["Credentials"])
    lasting = service(server, "s3", keys)
    for more, works in ((NOT_YET, True), (REVOKED, False)):
        document = identity_policy("*", effect="Deny", **more)
        iam.put_role_policy(RoleName=user, PolicyName="AWSRevokeOlderSessions", PolicyDocument=document)
        iam.put_user_policy(UserName=user, PolicyName="AWSRevokeOlderSessions", PolicyDocument=document)
        for own in (role, session):
            if works:
                own.list_buckets()
            else:
                assert refused(own.list_buckets) == ("AccessDenied", 403)
                assert refused(own.get_object, Bucket="alices", Key="k") == ("AccessDenied", 403)
        lasting.list_buckets()


# -- users of projects ----------------------------------------------------------------------------------------


def test_an_application_credential_is_worth_no_session_though_its_user_is_trusted() -> None:
    async def test() -> None:
        rig = Rig()
        registry = rig.registry
        directory = Directory([ACME], rig.cluster, memory_world(rig.clock), TokenSealer(CLUSTER_KEY, SystemRng()), (), registry)
        changes = Changes(directory)
        joe, manager = registry.user_named("joe", "default"), registry.role_named("manager")
        assert joe is not None
        assert manager is not None
        ends = rig.clock.wall_us() + 10_000_000
        await registry.create(AppCredential(1, "c1", "app", user_id=joe.id, project_id="acme", roles=(manager.id,), expires_us=ends))
        for id_, of in (("k1", "c1"), ("k2", "")):
            sealed = registry.secrets.seal(b"secret12", id_)
            await registry.create(
                Credential(1, id_, user_id=joe.id, project_id="acme", type="ec2", access=f"AK{id_}", sealed=sealed, app_credential_id=of)
            )
        named, whole = {"AWS": f"arn:aws:iam::acme:user/keystone/{joe.id}"}, {"AWS": "arn:aws:iam::acme:root"}
        for name, principal in (("named", named), ("whole", whole)):
            await changes.create_holder(Holder(1, ROLE, "acme", name, name.upper(), 0, trust=trust_policy(principal)))
        await changes.create_holder(Holder(1, USER, "acme", "ann", "AIDAANN", 0))

        async def outcome(key: str, action: str, **parameters: str) -> str:
            found = directory.lookup(key)
            assert found is not None
            call = Call(action, parameters, found[1], directory, changes, rig.clock.wall_us())
            try:
                return (await ACTIONS[action](call))[:13]
            except IdentityRefused as refusal:
                return refusal.code

        for name in ("named", "whole"):
            wanted = {"RoleArn": f"arn:aws:iam::acme:role/{name}", "RoleSessionName": "work"}
            assert await outcome("AKk1", "AssumeRole", **wanted) == "AccessDenied", name
        assert await outcome("AKk2", "AssumeRole", RoleArn="arn:aws:iam::acme:role/named", RoleSessionName="work") != "AccessDenied"
        for key in ("AKk1", "AKk2"):
            assert await outcome(key, "GetSessionToken") == "AccessDenied"
            assert await outcome(key, "GetSessionToken", UserName="ann") == "ValidationError"

    run(test())
