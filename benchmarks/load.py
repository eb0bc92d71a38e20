#!/usr/bin/env python3
"""A small, cheap S3 load generator (standard library only, Python >= 3.9).

Closed loop: --procs processes x (--concurrency / procs) keep-alive connections, each process one epoll
loop over plain non-blocking sockets.  Every request is really signed (SigV4 in the Authorization header).
Prints ONE JSON line: ops/s, MB/s, p50/p95/p99 ms per operation kind, errors, the generator's own CPU per op
and, with --server LABEL=REGEX (matched against the command line), the servers' CPU per op, RSS and disk writes.

  python -m benchmarks.load --endpoint 127.0.0.1:23001 --access K --secret S --bucket b --create-bucket \
             --mix put=1 --size 4096 --keys 10000 --count 10000 --concurrency 16 --server swift=swift-
Mix: put get head delete list multipart, with weights (get=70,put=30).  `--order seq` walks the key space once
(prefill, delete); `rand` picks keys.  --verify compares every GET body byte for byte with what PUT wrote, and
the ETag of PUT/GET with the MD5.  --range N makes GET ask for N random bytes.
"""

import argparse
import contextlib
import datetime
import hashlib
import hmac
import json
import multiprocessing as mp
import os
import random
import re
import resource
import select
import socket
import sys
import time
from array import array

U = "UNSIGNED-PAYLOAD"
EMPTY = hashlib.sha256(b"").hexdigest()
NBODY = 8  # distinct bodies; the body of key i is number i % NBODY


def q(s, safe="-_.~/"):
    from urllib.parse import quote

    return quote(s, safe=safe)


class Signer:
    def __init__(self, access, secret, host, region):
        self.access, self.secret, self.host, self.region, self.day = access, secret, host, region, None

    def roll(self, now):
        self.sec = now
        t = datetime.datetime.fromtimestamp(now, datetime.UTC)
        self.amz, day = t.strftime("%Y%m%dT%H%M%SZ"), t.strftime("%Y%m%d")
        if day != self.day:
            k = ("AWS4" + self.secret).encode()
            for x in (day, self.region, "s3", "aws4_request"):
                k = hmac.new(k, x.encode(), hashlib.sha256).digest()
            self.day, self.key = day, k
            self.scope = f"{day}/{self.region}/s3/aws4_request"
        self.pre = f"AWS4-HMAC-SHA256\n{self.amz}\n{self.scope}\n"

    def head(self, method, path, query, phash, clen, extra=""):
        """path and query already percent-encoded, query sorted; returns the request head as bytes"""
        now = int(time.time())
        if now != getattr(self, "sec", None):
            self.roll(now)
        creq = (
            f"{method}\n{path}\n{query}\nhost:{self.host}\nx-amz-content-sha256:{phash}\n"
            f"x-amz-date:{self.amz}\n\nhost;x-amz-content-sha256;x-amz-date\n{phash}"
        )
        sts = self.pre + hashlib.sha256(creq.encode()).hexdigest()
        sig = hmac.digest(self.key, sts.encode(), "sha256").hex()
        uri = f"{path}?{query}" if query else path
        cl = f"Content-Length: {clen}\r\n" if clen is not None else ""
        return (
            f"{method} {uri} HTTP/1.1\r\nHost: {self.host}\r\nx-amz-date: {self.amz}\r\n"
            f"x-amz-content-sha256: {phash}\r\nAuthorization: AWS4-HMAC-SHA256 Credential={self.access}/"
            f"{self.scope}, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={sig}\r\n"
            f"{cl}{extra}\r\n"
        ).encode()


class Bodies:
    def __init__(self, size, seed, part=0, sign=False):
        rnd = random.Random(seed)
        self.b = [rnd.randbytes(size) for _ in range(NBODY)]
        self.md5 = [hashlib.md5(x).hexdigest() for x in self.b]
        self.h = [hashlib.sha256(x).hexdigest() for x in self.b] if sign else [U] * NBODY


class Bad(Exception):
    pass


class Worker:
    def __init__(self, a, idx):
        self.a, self.idx = a, idx
        self.rnd = random.Random(a.seed * 1000 + idx)
        host, _, port = a.endpoint.rpartition(":")
        self.addr = (host or "127.0.0.1", int(port))
        self.sg = Signer(a.access, a.secret, a.endpoint, a.region)
        self.bodies = Bodies(a.size, a.seed, sign=a.payload == "signed")
        self.mixn, w = zip(*a.mixl, strict=False)
        self.w = w
        self.lat = {k: array("d") for k in self.mixn}
        self.errs, self.errsample, self.bytes, self.listed = 0, {}, 0, 0
        self.seq = a.first + idx
        self.left = a.count // a.procs + (idx < a.count % a.procs) if a.count else None
        self.base = "/" + a.bucket + "/" + a.prefix

    # -- operations: generators yielding (method, path, query, payload-hash, body|None, ok-codes) --------
    def op(self, kind):
        a = self.a
        if kind == "list":
            yield from self.op_list()
            return
        if a.order == "seq":
            i = self.seq
            self.seq += a.procs
            if self.seq >= a.keys:
                self.seq = a.first + self.idx
        else:
            i = self.rnd.randrange(a.keys)
        b = i % NBODY
        path = f"{self.base}{i:08d}"
        if kind == "put":
            st, h, _ = yield ("PUT", path, "", self.bodies.h[b], self.bodies.b[b], (200, 201))
            self.bytes += a.size
            if a.verify and self.bodies.md5[b].encode() not in h:
                raise Bad("put: wrong etag")
        elif kind == "get":
            extra = ""
            if a.range:
                lo = self.rnd.randrange(max(1, a.size - a.range + 1))
                extra = f"Range: bytes={lo}-{lo + a.range - 1}\r\n"
            st, h, body = yield ("GET", path, "", EMPTY, None, (200, 206), extra)
            self.bytes += len(body)
            if a.verify:
                want = self.bodies.b[b]
                if a.range:
                    want = want[lo : lo + a.range]
                if bytes(body) != want:  # a memoryview compares item by item: copy, then memcmp
                    raise Bad("get: wrong content")
            elif len(body) != (a.range or a.size):
                raise Bad("get: wrong length")
        elif kind == "head":
            yield ("HEAD", path, "", EMPTY, None, (200,))
        elif kind == "delete":
            yield ("DELETE", path, "", EMPTY, None, (204, 200))
        elif kind == "multipart":
            st, h, body = yield ("POST", path, "uploads=", EMPTY, b"", (200,))
            up = re.search(rb"<UploadId>([^<]+)", body).group(1).decode()
            psz, tags, n, off = a.part_size, [], 0, 0
            data = memoryview(self.bodies.b[b])
            while off < a.size:
                n += 1
                piece = data[off : off + psz]
                off += psz
                ph = hashlib.sha256(piece).hexdigest() if a.payload == "signed" else U
                st, h, _ = yield ("PUT", path, f"partNumber={n}&uploadId={q(up, '-_.~')}", ph, piece, (200,))
                tags.append(re.search(rb"(?i)\netag: *([^\r]+)", h).group(1).decode())
                self.bytes += len(piece)
            x = "".join(f"<Part><PartNumber>{i}</PartNumber><ETag>{t}</ETag></Part>" for i, t in enumerate(tags, 1))
            x = f"<CompleteMultipartUpload>{x}</CompleteMultipartUpload>".encode()
            _st, h, body = yield ("POST", path, f"uploadId={q(up, '-_.~')}", hashlib.sha256(x).hexdigest(), x, (200,))
            if b"<Error>" in body:
                raise Bad("multipart: " + body[:200].decode("latin1"))

    def op_list(self):
        a = self.a
        hi = max(0, a.keys - a.list_keys - 1)
        start = self.rnd.randrange(hi + 1)
        after = f"{a.prefix}{start:08d}"
        qs = f"list-type=2&max-keys={a.list_keys}&prefix={q(a.prefix, '-_.~')}&start-after={q(after, '-_.~')}"
        _st, _h, body = yield ("GET", "/" + a.bucket, qs, EMPTY, None, (200,))
        n = body.count(b"<Key>")
        self.listed += n
        self.bytes += len(body)
        if a.verify and n != min(a.list_keys, a.keys - 1 - start):
            raise Bad(f"list: {n} keys")

    # -- engine ------------------------------------------------------------------------------------------
    def run(self, start_at):
        a = self.a
        mine = a.concurrency // a.procs + (self.idx < a.concurrency % a.procs)
        ep = select.epoll()
        conns = {}
        while time.time() < start_at:
            time.sleep(0.001)
        t0 = self.t0 = time.perf_counter()
        self.deadline = t0 + a.seconds if a.seconds else None
        c0 = resource.getrusage(resource.RUSAGE_SELF)
        live = 0
        for _ in range(mine):
            c = Conn(self, ep)
            if c.next_op():
                conns[c.fd] = c
                live += 1
        while live:
            ev = ep.poll(30)
            if not ev:
                self.err("timeout 30 s")
                break
            for fd, m in ev:
                c = conns.get(fd)
                if c is None:
                    continue
                if not c.ready(m):
                    live -= 1
                    conns.pop(fd, None)
                elif c.fd != fd:
                    conns.pop(fd, None)
                    conns[c.fd] = c
        self.wall = time.perf_counter() - t0
        c1 = resource.getrusage(resource.RUSAGE_SELF)
        self.cpu = c1.ru_utime + c1.ru_stime - c0.ru_utime - c0.ru_stime
        return {
            "lat": {k: v.tobytes() for k, v in self.lat.items()},
            "errs": self.errs,
            "sample": self.errsample,
            "bytes": self.bytes,
            "wall": self.wall,
            "cpu": self.cpu,
            "listed": self.listed,
        }

    def err(self, why):
        self.errs += 1
        self.errsample[why] = self.errsample.get(why, 0) + 1

    def pick(self):
        if self.left is not None:
            if self.left <= 0:
                return None
            self.left -= 1
        if self.deadline and time.perf_counter() >= self.deadline:
            return None
        return self.mixn[0] if len(self.mixn) == 1 else self.rnd.choices(self.mixn, self.w)[0]


class Conn:
    def __init__(self, w, ep):
        self.w, self.ep, self.sock, self.fd = w, ep, None, -1
        self.buf = bytearray(max(65536, min(w.a.size + 16384, 64 << 20)))
        self.mv = memoryview(self.buf)

    def connect(self):
        if self.sock is not None:
            with contextlib.suppress(Exception):
                self.ep.unregister(self.fd)
            self.sock.close()
        s = socket.create_connection(self.w.addr)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.setblocking(False)
        self.sock, self.fd = s, s.fileno()
        self.ep.register(self.fd, select.EPOLLIN)
        self.mask = select.EPOLLIN

    def next_op(self):
        while True:
            kind = self.w.pick()
            if kind is None:
                if self.sock is not None:
                    self.ep.unregister(self.fd)
                    self.sock.close()
                return False
            self.kind, self.gen = kind, self.w.op(kind)
            self.t = time.perf_counter()
            if self.advance(None, first=True):
                return True

    def advance(self, resp, first=False):
        """step the operation; True when a request is in flight, False when the operation is over"""
        try:
            req = next(self.gen) if first else self.gen.send(resp)
        except StopIteration:
            self.w.lat[self.kind].append(time.perf_counter() - self.t)
            return False
        except (Bad, AttributeError) as e:
            self.w.err(str(e))
            return False
        method, path, query, ph, body, self.ok = req[:6]
        extra = req[6] if len(req) > 6 else ""
        head = self.w.sg.head(method, path, query, ph, None if body is None else len(body), extra)
        self.nobody = method == "HEAD"
        self.got, self.hend, self.need, self.chunked, self.closing = 0, -1, None, False, False
        self.retry = (head, body)
        self.fresh = self.sock is None
        if self.fresh:
            self.connect()
        self.start(head, body)
        return True

    def start(self, head, body):
        if body is not None and len(body) <= 32768:
            self.out = [memoryview(head + bytes(body))]
        else:
            self.out = [memoryview(head)] + ([memoryview(body)] if body else [])
        self.flush()

    def flush(self):
        out = self.out
        try:
            while out:
                n = self.sock.sendmsg(out)
                while out and n >= len(out[0]):
                    n -= len(out[0])
                    out.pop(0)
                if n:
                    out[0] = out[0][n:]
        except BlockingIOError:
            pass
        except OSError:
            self.out = []
        m = select.EPOLLIN | (select.EPOLLOUT if self.out else 0)
        if m != self.mask:
            self.ep.modify(self.fd, m)
            self.mask = m

    def ready(self, m):
        if m & select.EPOLLOUT:
            self.flush()
        if not m & ~select.EPOLLOUT:
            return True
        try:
            n = self.sock.recv_into(self.mv[self.got :])
        except BlockingIOError:
            return True
        except OSError:
            n = 0
        if n == 0:
            if self.got == 0 and not self.fresh:  # keep-alive connection closed under us: once more
                self.connect()
                self.fresh = True
                self.start(*self.retry)
                return True
            if self.hend > 0 and self.need is None and not self.chunked:
                return self.finish(self.mv[self.hend : self.got])
            self.w.err("connection lost")
            self.connect()
            return self.next_op()
        self.got += n
        if self.hend < 0:
            e = self.buf.find(b"\r\n\r\n", 0, self.got)
            if e < 0:
                return True
            if self.buf[9:12] == b"100":
                rest = bytes(self.mv[e + 4 : self.got])
                self.buf[: len(rest)] = rest
                self.got = len(rest)
                e = self.buf.find(b"\r\n\r\n", 0, self.got)
                if e < 0:
                    return True
            self.hend = e + 4
            self.hraw = bytes(self.mv[: self.hend])
            low = self.hraw.lower()
            self.status = int(low[9:12])
            self.closing = b"\nconnection: close" in low
            if self.nobody or self.status in (204, 304):
                self.need = 0
            else:
                i = low.find(b"\ncontent-length:")
                if i >= 0:
                    self.need = int(low[i + 16 : low.find(b"\r", i)])
                elif b"\ntransfer-encoding: chunked" in low:
                    self.chunked = True
            if self.need is not None and self.hend + self.need > len(self.buf):
                self.grow(self.hend + self.need)
        if self.chunked:
            body = dechunk(self.buf, self.hend, self.got)
            if body is None:
                if self.got == len(self.buf):
                    self.grow(2 * len(self.buf))
                return True
            return self.finish(body)
        if self.need is None:
            if self.got == len(self.buf):
                self.grow(2 * len(self.buf))
            return True
        if self.got - self.hend >= self.need:
            return self.finish(self.mv[self.hend : self.hend + self.need])
        return True

    def grow(self, size):
        nb = bytearray(size + 65536)
        nb[: self.got] = self.mv[: self.got]
        self.buf, self.mv = nb, memoryview(nb)

    def finish(self, body):
        if self.status not in self.ok:
            self.w.err(f"{self.kind} {self.status} " + bytes(body[:120]).decode("latin1"))
            if self.closing or self.out:
                self.connect()
            return self.next_op()
        if self.closing:
            self.connect()
        if self.kind in ("list", "multipart"):
            body = bytes(body)
        return self.advance((self.status, self.hraw, body)) or self.next_op()


def dechunk(buf, pos, end):
    parts = []
    while True:
        e = buf.find(b"\r\n", pos, end)
        if e < 0:
            return None
        n = int(bytes(buf[pos:e]).split(b";")[0], 16)
        if e + 2 + n + 2 > end:
            return None
        if n == 0:
            return b"".join(parts)
        parts.append(bytes(buf[e + 2 : e + 2 + n]))
        pos = e + 2 + n + 2


# -- accounting of server processes --------------------------------------------------------------------------
TICK = os.sysconf("SC_CLK_TCK")


def scan(rx):
    out = {}
    for d in os.listdir("/proc"):
        if not d.isdigit() or int(d) == os.getpid():
            continue
        try:
            cmd = open(f"/proc/{d}/cmdline", "rb").read().replace(b"\0", b" ").decode("latin1")
            if not rx.search(cmd) or "s3bench" in cmd:
                continue
            st = open(f"/proc/{d}/stat").read().rsplit(")", 1)[1].split()
            mem = {}
            for ln in open(f"/proc/{d}/smaps_rollup"):
                k, _, v = ln.partition(":")
                if k in ("Rss", "Pss"):
                    mem[k] = int(v.split()[0]) * 1024
            io = dict(ln.split(": ") for ln in open(f"/proc/{d}/io").read().splitlines())
            out[int(d)] = (
                int(st[11]) + int(st[12]),
                mem.get("Rss", 0),
                mem.get("Pss", 0),
                int(io["write_bytes"]),
                int(io["read_bytes"]),
                int(st[11]),
            )
        except (OSError, KeyError, IndexError):
            pass
    return out


def pct(s, p):
    return s[min(len(s) - 1, int(len(s) * p))] if s else None


def one(a, method, path, query="", body=None):
    host, _, port = a.endpoint.rpartition(":")
    import http.client

    sg = Signer(a.access, a.secret, a.endpoint, a.region)
    ph = EMPTY if not body else hashlib.sha256(body).hexdigest()
    head = sg.head(method, path, query, ph, len(body or b""), "Connection: close\r\n")
    s = socket.create_connection((host or "127.0.0.1", int(port)))
    s.sendall(head + (body or b""))
    r = http.client.HTTPResponse(s, method=method)
    r.begin()
    data = r.read()
    s.close()
    return r.status, data


def child(a, idx, start_at, pipe):
    try:
        pipe.send(Worker(a, idx).run(start_at))
    except BaseException as e:
        import traceback

        traceback.print_exc()
        pipe.send({"fail": repr(e)})


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--endpoint", default="127.0.0.1:23001")
    p.add_argument("--access", default=os.environ.get("S3_ACCESS", "test:tester"))
    p.add_argument("--secret", default=os.environ.get("S3_SECRET", "testing"))
    p.add_argument("--region", default="us-east-1")
    p.add_argument("--bucket", default="bench")
    p.add_argument("--create-bucket", action="store_true")
    p.add_argument("--prefix", default="k")
    p.add_argument("--keys", type=int, default=1000)
    p.add_argument("--first", type=int, default=0, help="seq order: the first key's number; --keys ends the range")
    p.add_argument("--list-keys", type=int, default=1000)
    p.add_argument("--mix", default="put=1")
    p.add_argument("--order", choices=("seq", "rand"), default="seq")
    p.add_argument("--size", type=int, default=4096)
    p.add_argument("--part-size", type=int, default=5 << 20)
    p.add_argument("--range", type=int, default=0)
    p.add_argument("--concurrency", type=int, default=16)
    p.add_argument("--procs", type=int, default=1)
    p.add_argument("--seconds", type=float, default=0)
    p.add_argument("--count", type=int, default=0)
    p.add_argument("--payload", choices=("signed", "unsigned"), default="signed")
    p.add_argument("--verify", action="store_true")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--label", default="")
    p.add_argument("--server", action="append", default=[], help="LABEL=REGEX over command lines")
    a = p.parse_args(argv)
    if not a.seconds and not a.count:
        a.count = a.keys
    a.procs = min(a.procs, a.concurrency)
    a.mixl = [(k, float(v or 1)) for k, _, v in (x.partition("=") for x in a.mix.split(","))]
    if a.create_bucket:
        st, data = one(a, "PUT", "/" + a.bucket)
        if st not in (200, 201, 204, 409):
            sys.exit(f"create bucket: {st} {data[:300]!r}")
    rx = [(s.partition("=")[0], re.compile(s.partition("=")[2])) for s in a.server]
    before = {k: scan(r) for k, r in rx}
    start_at = time.time() + 0.15 + 0.05 * a.procs + a.size * NBODY / 2e8
    kids = []
    for i in range(a.procs):
        r, w = mp.Pipe(False)
        pr = mp.Process(target=child, args=(a, i, start_at, w))
        pr.start()
        kids.append((pr, r))
    res = [r.recv() for _, r in kids]
    for pr, _ in kids:
        pr.join()
    after = {k: scan(r) for k, r in rx}
    bad = [r["fail"] for r in res if "fail" in r]
    if bad:
        sys.exit("worker failed: " + "; ".join(bad))
    wall = max(r["wall"] for r in res)
    out = {
        "label": a.label,
        "mix": a.mix,
        "size": a.size,
        "conc": a.concurrency,
        "procs": a.procs,
        "payload": a.payload,
        "seconds": round(wall, 3),
    }
    n = 0
    per = {}
    for k in res[0]["lat"]:
        v = array("d")
        for r in res:
            v.frombytes(r["lat"][k])
        s = sorted(v)
        n += len(s)
        per[k] = (
            {"n": len(s), "p50_ms": None, "p95_ms": None, "p99_ms": None}
            if not s
            else {
                "n": len(s),
                "ops_s": round(len(s) / wall, 1),
                "p50_ms": round(pct(s, 0.5) * 1e3, 3),
                "p95_ms": round(pct(s, 0.95) * 1e3, 3),
                "p99_ms": round(pct(s, 0.99) * 1e3, 3),
                "max_ms": round(s[-1] * 1e3, 3),
            }
        )
    out.update(
        ops=n,
        ops_s=round(n / wall, 1),
        mb_s=round(sum(r["bytes"] for r in res) / wall / 1e6, 2),
        per=per,
        errors=sum(r["errs"] for r in res),
        client_us_op=round(sum(r["cpu"] for r in res) / max(n, 1) * 1e6, 1),
    )
    sample = {}
    for r in res:
        for k, v in r["sample"].items():
            sample[k] = sample.get(k, 0) + v
    if sample:
        out["error_sample"] = dict(sorted(sample.items(), key=lambda x: -x[1])[:3])
    for k, _ in rx:
        b, f = before[k], after[k]
        cpu = sum(v[0] - (b[p][0] if p in b else 0) for p, v in f.items()) / TICK
        usr = sum(v[5] - (b[p][5] if p in b else 0) for p, v in f.items()) / TICK
        wr = sum(v[3] - (b[p][3] if p in b else 0) for p, v in f.items())
        nb = sum(r["bytes"] for r in res)
        out["srv_" + k] = {
            "cpu_s": round(cpu, 2),
            "cpu_us_op": round(cpu / max(n, 1) * 1e6, 1),
            "user_us_op": round(usr / max(n, 1) * 1e6, 1),
            "cpu_ns_byte": round(cpu / nb * 1e9, 3) if nb else None,
            "procs": len(f),
            "rss_mb": round(sum(v[1] for v in f.values()) / 1e6, 1),
            "pss_mb": round(sum(v[2] for v in f.values()) / 1e6, 1),
            "write_bytes_op": round(wr / max(n, 1)),
        }
    print(json.dumps(out))
    return 0 if not out["errors"] else 1


if __name__ == "__main__":
    sys.exit(main())
