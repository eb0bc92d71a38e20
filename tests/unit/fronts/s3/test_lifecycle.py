"""Lifecycle rules through boto3: both forms, all refusals, the header that says when an object expires."""

import datetime
from typing import Any

import pytest

from tests.support.s3_raw import call
from tests.support.s3_server import Running, s3_serving

MIDNIGHT = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
RULES: list[dict[str, Any]] = [
    {"ID": "old form", "Prefix": "logs/", "Status": "Enabled", "Expiration": {"Days": 30}},
    {"ID": "all", "Filter": {}, "Status": "Disabled", "Expiration": {"Date": MIDNIGHT}},
    {"ID": "empty", "Filter": {"Prefix": ""}, "Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}},
    {"ID": "tag", "Filter": {"Tag": {"Key": "a", "Value": "b"}}, "Status": "Enabled", "Expiration": {"Days": 1}},
    {"ID": "size", "Filter": {"ObjectSizeGreaterThan": 500}, "Status": "Enabled", "Expiration": {"Days": 3650}},
    {
        "ID": "and",
        "Filter": {"And": {"Prefix": "x/", "Tags": [{"Key": "a", "Value": "b"}, {"Key": "c", "Value": ""}], "ObjectSizeGreaterThan": 1, "ObjectSizeLessThan": 9}},
        "Status": "Enabled",
        "Expiration": {"Days": 2},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 5, "NewerNoncurrentVersions": 3},
    },
    {
        "ID": "colder",
        "Filter": {"Prefix": "c"},
        "Status": "Enabled",
        "Expiration": {"Days": 31},
        "Transitions": [{"Days": 0, "StorageClass": "STANDARD_IA"}, {"Days": 30, "StorageClass": "GLACIER_IR"}],
        "NoncurrentVersionTransitions": [{"NoncurrentDays": 3, "StorageClass": "ONEZONE_IA", "NewerNoncurrentVersions": 2}],
    },
    {"ID": "date", "Prefix": "d", "Status": "Enabled", "Transitions": [{"Date": MIDNIGHT, "StorageClass": "STANDARD_IA"}]},
    {"ID": "marker", "Filter": {"Prefix": "m"}, "Status": "Enabled", "Expiration": {"ExpiredObjectDeleteMarker": True}},
]  # fmt: skip


def put(s3: Any, bucket: str, rules: list[dict[str, Any]]) -> None:
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})


def test_rules_come_back_as_they_were_set(server: Running, s3: Any, bucket: str) -> None:
    put(s3, bucket, RULES)
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == RULES
    s3.delete_bucket_lifecycle(Bucket=bucket)
    assert call(server, "GET", f"/{bucket}?lifecycle").code == "NoSuchLifecycleConfiguration"


def test_a_rule_without_a_name_gets_one(s3: Any, bucket: str) -> None:
    nameless = [{"Prefix": f"{number}/", "Status": "Enabled", "Expiration": {"Days": 1}} for number in range(2)]
    put(s3, bucket, nameless)
    names = [rule["ID"] for rule in s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]]
    assert len(set(names)) == 2
    assert all(names)


def rule(inner: str) -> bytes:
    return f"<LifecycleConfiguration><Rule>{inner}</Rule></LifecycleConfiguration>".encode()


GOOD = "<Status>Enabled</Status><Prefix/>"
DAYS = "<Expiration><Days>1</Days></Expiration>"
TAGGED = "<Status>Enabled</Status><Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter>"
SIZED = "<Status>Enabled</Status><Filter><ObjectSizeLessThan>9</ObjectSizeLessThan></Filter>"
MARKER = "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"
ABORT = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>"


NONCURRENT = (
    "<NoncurrentVersionTransition><NoncurrentDays>{}</NoncurrentDays><StorageClass>STANDARD_IA</StorageClass></NoncurrentVersionTransition>"
)


def step(days: int | str, storage_class: str = "STANDARD_IA") -> str:
    return f"<Transition><Days>{days}</Days><StorageClass>{storage_class}</StorageClass></Transition>"


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b"<LifecycleConfiguration/>", "MalformedXML"),
        (rule(DAYS), "MalformedXML"),
        (rule("<Status>Enabled</Status>" + DAYS), "MalformedXML"),
        (rule("<Status>enabled</Status><Prefix/>" + DAYS), "MalformedXML"),
        (rule(GOOD + "<Filter/>" + DAYS), "MalformedXML"),
        (rule(GOOD), "InvalidRequest"),
        (rule(GOOD + "<ID>" + "i" * 256 + "</ID>" + DAYS), "InvalidArgument"),
        (rule(GOOD + DAYS + "</Rule><Rule>" + GOOD + DAYS), "InvalidArgument"),
        (rule(GOOD + "<Expiration/>"), "MalformedXML"),
        (rule(GOOD + "<Expiration><Days>0</Days></Expiration>"), "InvalidArgument"),
        (rule(GOOD + "<Expiration><Days>-1</Days></Expiration>"), "InvalidArgument"),
        (rule(GOOD + "<Expiration><Days>x</Days></Expiration>"), "MalformedXML"),
        (rule(GOOD + "<Expiration><Days>1</Days><Date>2030-01-01T00:00:00Z</Date></Expiration>"), "MalformedXML"),
        (rule(GOOD + "<Expiration><Date>2030-01-01T00:00:01Z</Date></Expiration>"), "InvalidArgument"),
        (rule(GOOD + "<Expiration><Date>20300101</Date></Expiration>"), "MalformedXML"),
        (rule(GOOD + "<Expiration><Date>2030-02-30</Date></Expiration>"), "MalformedXML"),
        (rule(GOOD + "<NoncurrentVersionExpiration/>"), "MalformedXML"),
        (rule(GOOD + "<NoncurrentVersionExpiration><NoncurrentDays>0</NoncurrentDays></NoncurrentVersionExpiration>"), "InvalidArgument"),
        (rule(GOOD + "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays><NewerNoncurrentVersions>101</NewerNoncurrentVersions></NoncurrentVersionExpiration>"), "InvalidArgument"),
        (rule(GOOD + "<AbortIncompleteMultipartUpload/>"), "MalformedXML"),
        (rule(GOOD + ABORT.replace("1", "0")), "InvalidArgument"),
        (rule(TAGGED + MARKER), "InvalidRequest"),
        (rule(TAGGED + ABORT), "InvalidRequest"),
        (rule(SIZED + ABORT), "InvalidRequest"),
        (rule("<Status>Enabled</Status><Filter><Prefix/><ObjectSizeLessThan>9</ObjectSizeLessThan></Filter>" + DAYS), "MalformedXML"),
        (rule("<Status>Enabled</Status><Filter><And><Prefix/></And></Filter>" + DAYS), "MalformedXML"),
        (rule("<Status>Enabled</Status><Filter><And>" + "<Tag><Key>k</Key><Value>v</Value></Tag>" * 2 + "</And></Filter>" + DAYS), "InvalidRequest"),
        (rule("<Status>Enabled</Status><Filter><And><ObjectSizeGreaterThan>9</ObjectSizeGreaterThan><ObjectSizeLessThan>9</ObjectSizeLessThan></And></Filter>" + DAYS), "InvalidRequest"),
        (rule("<Status>Enabled</Status><Filter><Tag><Key/><Value>v</Value></Tag></Filter>" + DAYS), "InvalidTag"),
        (rule(f"<Status>Enabled</Status><Prefix>{'p' * 1025}</Prefix>" + DAYS), "InvalidRequest"),
        (rule(GOOD + "<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>"), "InvalidStorageClass"),
        (rule(GOOD + "<Transition><Days>-1</Days><StorageClass>GLACIER</StorageClass></Transition>"), "InvalidArgument"),
        (rule(GOOD + "<Transition><Days>1</Days></Transition>"), "MalformedXML"),
        (rule(GOOD + step(1, "STANDARD")), "InvalidStorageClass"),
        (rule(GOOD + step(1, "REDUCED_REDUNDANCY")), "InvalidStorageClass"),
        (rule(GOOD + "<Transition><StorageClass>STANDARD_IA</StorageClass></Transition>"), "MalformedXML"),
        (rule(GOOD + step("1</Days><Date>2030-01-01</Date><Days>2")), "MalformedXML"),
        (rule(GOOD + step(1) + step(2)), "InvalidRequest"),
        (rule(GOOD + step(1) + DAYS), "InvalidArgument"),
        (rule(GOOD + step(2) + DAYS.replace("<Days>1</Days>", "<Date>2030-01-01</Date>")), "InvalidRequest"),
        (rule(GOOD + step(1) + "<Transition><Date>2030-01-01</Date><StorageClass>GLACIER_IR</StorageClass></Transition>"), "InvalidRequest"),
        (rule(GOOD + "<NoncurrentVersionTransition><StorageClass>STANDARD_IA</StorageClass></NoncurrentVersionTransition>"), "MalformedXML"),
        (rule(GOOD + NONCURRENT.format(1) + "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>"), "InvalidArgument"),
        (rule(GOOD + NONCURRENT.format(-1)), "InvalidArgument"),
        (b"<LifecycleConfiguration>" + rule(GOOD + DAYS)[24:-25] * 1001 + b"</LifecycleConfiguration>", "MalformedXML"),
    ],
)  # fmt: skip
def test_rules_that_cannot_be_are_refused(server: Running, bucket: str, document: bytes, code: str) -> None:
    assert call(server, "PUT", f"/{bucket}?lifecycle", document).code == code
    assert call(server, "GET", f"/{bucket}?lifecycle").code == "NoSuchLifecycleConfiguration"


def test_answers_say_when_an_object_expires(s3: Any, bucket: str) -> None:
    def expires(answer: dict[str, Any]) -> str | None:
        return answer.get("Expiration")

    assert expires(s3.put_object(Bucket=bucket, Key="a/1", Body=b"")) is None
    put(s3, bucket, [{"ID": "r 1/ü", "Prefix": "a/", "Status": "Enabled", "Expiration": {"Days": 1}}])
    said = expires(s3.put_object(Bucket=bucket, Key="a/1", Body=b""))
    tomorrow = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=2)
    assert said is not None
    assert said.startswith(f'expiry-date="{tomorrow:%a, %d %b %Y} 00:00:00 GMT"')
    assert said.endswith('rule-id="r%201/%C3%BC"')
    assert expires(s3.get_object(Bucket=bucket, Key="a/1")) == said
    assert expires(s3.head_object(Bucket=bucket, Key="a/1")) == said
    assert expires(s3.copy_object(Bucket=bucket, Key="a/2", CopySource=f"{bucket}/a/1")) == said
    assert expires(s3.copy_object(Bucket=bucket, Key="b", CopySource=f"{bucket}/a/1")) is None
    upload = s3.create_multipart_upload(Bucket=bucket, Key="a/3")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="a/3", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    done = s3.complete_multipart_upload(
        Bucket=bucket, Key="a/3", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]}
    )
    assert expires(done) == said
    put(s3, bucket, [{"ID": "r", "Prefix": "", "Status": "Enabled", "Expiration": {"Days": 2**31 - 1}}])
    assert "9999" in str(expires(s3.head_object(Bucket=bucket, Key="a/1")))


def test_answers_say_when_an_upload_is_given_up(s3: Any, bucket: str) -> None:
    plain = s3.create_multipart_upload(Bucket=bucket, Key="k")
    assert "AbortDate" not in plain
    rule = {"ID": "a b", "Filter": {"Prefix": "k"}, "Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    begun = s3.create_multipart_upload(Bucket=bucket, Key="k")
    days = (begun["AbortDate"] - datetime.datetime.now(datetime.UTC)).total_seconds() / 86400
    assert (7 <= days <= 8, begun["AbortRuleId"]) == (True, "a%20b")
    listed = s3.list_parts(Bucket=bucket, Key="k", UploadId=begun["UploadId"])
    assert (listed["AbortDate"], listed["AbortRuleId"]) == (begun["AbortDate"], begun["AbortRuleId"])
    assert "AbortDate" not in s3.create_multipart_upload(Bucket=bucket, Key="other")


def test_a_short_day_is_said_as_it_is() -> None:
    with s3_serving(seconds_per_day=3600) as running:
        s3 = running.client()
        s3.create_bucket(Bucket="short")
        put(s3, "short", [{"ID": "r", "Prefix": "", "Status": "Enabled", "Expiration": {"Days": 2}}])
        said = s3.put_object(Bucket="short", Key="k", Body=b"")["Expiration"]
        when = datetime.datetime.strptime(said.split('"')[1], "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=datetime.UTC)
        assert abs((when - datetime.datetime.now(datetime.UTC)).total_seconds() - 7200) < 60


def test_small_objects_move_only_where_that_is_asked_for(server: Running, s3: Any, bucket: str) -> None:
    rules = {"Rules": [{"ID": "r", "Prefix": "", "Status": "Enabled", "Transitions": [{"Days": 0, "StorageClass": "STANDARD_IA"}]}]}
    for given, kept in (({}, "all_storage_classes_128K"), ({"TransitionDefaultMinimumObjectSize": "varies_by_storage_class"},) * 2):
        told = s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=rules, **given)
        wanted = kept if isinstance(kept, str) else kept["TransitionDefaultMinimumObjectSize"]
        assert told["TransitionDefaultMinimumObjectSize"] == wanted
        assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["TransitionDefaultMinimumObjectSize"] == wanted
    headers = {"x-amz-transition-default-minimum-object-size": "none"}
    assert call(server, "PUT", f"/{bucket}?lifecycle", rule(GOOD + DAYS), headers=headers).code == "InvalidArgument"
