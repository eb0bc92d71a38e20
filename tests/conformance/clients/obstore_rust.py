"""obstore: the object_store crate as itself, with its conditional puts and its multipart uploads."""

from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import S3Store
from scenario import BUCKET, CA, FILES, KEY, REGION, SECRET, STYLE, URL, make_bucket, names, noise, raises, run, scenario

address = URL.replace("//", f"//{BUCKET}.") if STYLE == "virtual" else URL
extra = {"root_certificate": Path(CA).read_bytes()} if CA else {}
store = S3Store(
    BUCKET, access_key_id=KEY, secret_access_key=SECRET, region=REGION, endpoint=address, virtual_hosted_style_request=STYLE == "virtual",
    conditional_put="etag", client_options={"allow_http": True, **extra},
)  # fmt: skip


@scenario
def files() -> None:
    make_bucket()
    for name in names():
        obstore.put(store, name, FILES / name, chunk_size=5 << 20)
        assert bytes(obstore.get(store, name).bytes()) == (FILES / name).read_bytes()
    assert sorted(e["path"] for page in obstore.list(store) for e in page) == sorted(names())


@scenario
def conditional() -> None:
    etag = obstore.put(store, "c", b"1", mode="create")["e_tag"]
    raises(AlreadyExistsError, lambda: obstore.put(store, "c", b"2", mode="create"))
    obstore.put(store, "c", b"3", mode={"e_tag": etag})
    raises(PreconditionError, lambda: obstore.put(store, "c", b"4", mode={"e_tag": etag}))
    assert bytes(obstore.get(store, "c").bytes()) == b"3"


@scenario
def ranges() -> None:
    data = noise("obstore", 1 << 20)
    obstore.put(store, "r", data)
    assert bytes(obstore.get_range(store, "r", start=10, end=20)) == data[10:20]
    assert [bytes(b) for b in obstore.get_ranges(store, "r", starts=[0, 900_000], lengths=[5, 5])] == [data[:5], data[900_000:900_005]]


@scenario
def moves() -> None:
    obstore.copy(store, "r", "copy")
    obstore.rename(store, "copy", "renamed")
    raises(FileNotFoundError, lambda: obstore.head(store, "copy"))
    assert obstore.head(store, "renamed")["size"] == 1 << 20
    obstore.delete(store, [e["path"] for page in obstore.list(store) for e in page])
    assert [e for page in obstore.list(store) for e in page] == []


run()
