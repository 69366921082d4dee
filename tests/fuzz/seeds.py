"""The generated part of the corpus: good inputs from the product's own encoders, and hostile ones made by hand.

What the fuzzer finds is added beside it by hand, under a name that says what was found.
"""

from __future__ import annotations

import gzip
import json
import struct

from gitref_lock.core.clocks import ClockReading, ServerClock, ServerDate
from gitref_lock.core.machine import NextState, Stance, Write, step
from gitref_lock.core.names import LockName, Nonce, Oid, RefName
from gitref_lock.core.objects import GitObject, ObjectKind
from gitref_lock.core.record import ClockSource, Event, Holder
from gitref_lock.core.text import JsonObject
from gitref_lock.core.ticket import Kind, Ticket, Verdict, VerdictKind
from gitref_lock.core.timing import LeaseTiming
from gitref_lock.landing.index_file import StatData
from gitref_lock.landing.journal import Journal, JournalLanding, Move, MovePath, encode
from gitref_lock.landing.trees import TreeEntry
from gitref_lock.remotes.packs import write_pack
from gitref_lock.runtime.leasefile import StoredLease, Writer
from tests.fuzz.promise import SEPARATOR
from tests.fuzz.targets import CORPUS

Seeds = dict[str, bytes]
MAIN, NONCE, OID = LockName("main"), Nonce("ab" * 12), Oid("1" * 40)
HOLDER = Holder("ci/1", 'na"me', "wörk", "https://host.example/run/1", "host", 7)


def _state(event: Event = Event.ACQUIRE) -> NextState:
    write = Write(NONCE, 1_700_000_000, ClockSource.SERVER, HOLDER, expires_at=1_700_000_061, ttl_s=60.0)
    return step(MAIN, None, Stance.ABSENT, event, write)


def _joined(*parts: bytes) -> bytes:
    return SEPARATOR.join(parts)


def _record() -> Seeds:
    texts = {"held": _state().record.encode(), "free": _state(Event.CREATE).record.encode()}
    text = texts["held"].decode()
    return texts | {
        "nested": ('{"schema": 1, "lock": "main", "x": ' + "[" * 3000 + "]" * 3000 + "}").encode(),
        "number": text.replace('"priority": 0', '"priority": ' + "9" * 5000).encode(),
        "float": text.replace('"ttl_s": 60', '"ttl_s": 1e400').encode(),
        "surrogate": text.replace('"ci/1"', '"\\ud800"').encode(),
        "newer": text.replace('"schema": 1', '"schema": 2, "more": {"deep": [1.50, -0.0, 1E5]}').encode(),
        "more-keys": text.replace('"schema": 1', '"schema": 1, "more": {"deep": [1.50, -0.0, 1E5]}').encode(),
        "twice": text.replace('"schema": 1', '"schema": 1, "schema": 1').encode(),
        "crlf": text.replace("\n", "\r\n").encode(),
        "long-texts": text.replace('"host"', '"' + '\\u200b\\"é' * 60 + '"').encode(),
        "bom": b"\xef\xbb\xbf" + texts["held"],
    }


def _history() -> Seeds:
    ring = _state().state.ring
    line = ring.encode()
    return {
        "one": line,
        "many": line * 70,
        "renewals": (line.replace(b'"acquire"', b'"renew"') + line) * 3,
        "damaged": line[:-10] + b"\n" + line + b'{"at":1}\n[]\n\x00\xff\n' + line,
        "durations": line.replace(b'"nonce"', b'"held_s":1e12,"waited_s":-0.0,"landed":1000000,"nonce"'),
        "no-end": b'{"event":' * 200,
    }


def _tickets() -> Seeds:
    land = Ticket(
        Kind.LAND, (MAIN, LockName("deploy/prod")), NONCE, HOLDER, 20, 1_700_000_000_000, 1_700_000_600, "main", OID, 2,
        {"rules": [["*.jsonl", "lines:key=id"], ["data/**", "ours"], ["[!a-c]?\\*/x", "union"]]}, tool="t 1",
    )  # fmt: skip
    acquire = Ticket(Kind.ACQUIRE, (MAIN,), NONCE, HOLDER, -5, 1, 1_700_000_600)
    conflict: JsonObject = {"path": "a", "reason": "r", "ours": None, "theirs": OID}
    landed = land.with_verdict(Verdict(VerdictKind.LANDED, "somebody", "", (OID,) * 3))
    lost = land.with_verdict(Verdict(VerdictKind.CONFLICT, "somebody", "both", (), (conflict, conflict)))
    stars = {"rules": [["*aaaaaaaaaaaaaab" * 60, "ours"]] * 8}
    return {
        "land": land.encode(),
        "acquire": acquire.encode(),
        "landed": landed.encode(),
        "conflict": lost.encode(),
        "stars": _joined(json.dumps(json.loads(land.encode()) | {"policy": stars}).encode(), b"a" * 255),
        "commands": land.encode().replace(b'"ours"', b'"driver:sh"').replace(b'"union"', b'"regenerate:true"'),
        "many-commits": landed.encode().replace(b'"commits": [', b'"commits": [' + (b'"' + b"2" * 40 + b'",') * 300),
        "deep-policy": land.encode().replace(b'"rules": [', b'"rules": [' + b"[" * 30 + b"]" * 30 + b","),
        "name": land.encode().replace(b"deploy/prod", b"t-0000000000000001-" + b"ab" * 12),
    }


def _wire() -> Seeds:
    oid = b"1" * 40
    band = b"\x01unpack ok\n"
    return {
        "advertisement-v0": b"A+"
        + oid
        + b" HEAD\0report-status atomic agent=git/2.39.5\n"
        + oid
        + b" refs/heads/main\n0000",
        "advertisement-http": b"A+# service=git-receive-pack\n0000\n"
        + oid
        + b" capabilities^{}\0atomic side-band-64k\n0000",
        "advertisement-v2": b"A+version 2\nagent=git/2.39.5\nls-refs=unborn\nobject-format=sha1\n0000",
        "advertisement-sha256": b"h+" + b"2" * 64 + b" refs/heads/main\0object-format=sha256\n0000",
        "ls-refs": b"L+"
        + oid
        + b" refs/locks/main\n"
        + oid
        + b" refs/heads/main symref-target:x peeled:y\nunborn HEAD\n0000",
        "ls-refs-err": b"L+ERR access denied or repository not exported: /x\n0000",
        "fetch-v2": b"F+acknowledgments\nNAK\n0001\nshallow-info\nshallow "
        + oid
        + b"\n0001\npackfile\n\x01PACKxxx\n\x02words\n0000",
        "fetch-v0": b"f+NAK\n\x01PACKxxx\n\x01y\n0000",
        "fetch-v0-shallow": b"s+shallow "
        + oid
        + b"\nunshallow "
        + oid
        + b"\n0000\nACK "
        + oid
        + b" common\nNAK\n\x01PACK\n0000",
        "band-error": b"f+NAK\n\x01PA\n\x02half\n\x03upload-pack: not our ref " + oid,
        "report": b"R#unpack ok\nok refs/heads/main\nok refs/locks/main\n0000",
        "report-ng": b"R#unpack ok\nng refs/heads/main failed to update ref\n"
        b"ng refs/locks/main atomic transaction failed\n0000",
        "report-plain": b"R+unpack index-pack abnormal exit\nng refs/heads/main unpacker error\n0000",
        "report-hook": b"R+\x02remote: 'refs/x' exists; cannot create 'refs/x/y'\n" + band + b"\n0000",
        "half-band": b"R=0014\x01000eunpack ok\n0019\x01",
        "lengths": b"B=0001000200030004",
        "too-long": b"B=ffff\x01" + b"x" * 300,
        "length-words": b"B= 005\x0100-4+0041_05\x01",
        "empty-bands": b"B=" + b"0005\x01" * 2000 + b"0000",
        "progress": b"B=" + b"0006\x02x" * 1000 + b"0000",
        "cut": b"A=003d" + oid,
    }


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _packs() -> Seeds:
    blob, tag = GitObject(ObjectKind.BLOB, b"text\n" * 9), GitObject(ObjectKind.TAG, b"object x\n")
    state = _state().objects
    whole = write_pack([blob, tag, *state])
    delta = bytes([45, 50, 0x90, 45, 5]) + b"again"
    entry = struct.pack(">BBH", 3 << 1, 0, 45) + b"text\n" * 9
    ofs = struct.pack(">BBH", 6 << 1, 0, len(delta)) + b"\0" + delta
    ref = struct.pack(">BBH", 7 << 1, 0, len(delta)) + b"\0" + delta
    number = b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f"
    copies = _varint(6000) + _varint(500 * 6000) + b"\xb0\x70\x17" * 500
    claims = struct.pack(">BBH", 6 << 1, 0, 13) + b"\0\x2d" + number + b"\x90\x2d\1"
    return {
        "state": b"x" + whole,
        "cut": b"x" + whole[:-25],
        "checksum": b"x" + whole[:-1] + b"\0",
        "empty": b"x" + write_pack([]),
        "count": b"r\xff" + whole[12:-20],
        "body": bytes([ord("r"), len(state) + 2]) + whole[12:-20],
        "offset-delta": b"s" + entry + ofs,
        "id-delta": b"s" + entry + ref + ref,
        "delta-of-itself": b"s" + struct.pack(">BBH", 6 << 1, 0, len(delta)) + b"\0" + delta,
        "delta-claims": b"s" + entry + claims,
        "wrong-size": b"s" + struct.pack(">BBH", 3 << 1, 5, 45) + b"text\n" * 9,
        "bomb": b"s" + struct.pack(">BBH", 2 << 1, 255, 6000) + bytes(6000),
        "bomb-of-copies": b"s" + struct.pack(">BBH", 3 << 1, 0, 6000) + bytes(6000)
        + struct.pack(">BBH", 6 << 1, 0, len(copies)) + b"\0" + copies,
        "many": b"s" + (struct.pack(">BBH", 3 << 1, 0, 2) + b"ab") * 250,
        "kinds": b"s" + b"".join(struct.pack(">BBH", kind << 1, 0, 1) + b"x" for kind in (0, 1, 2, 3, 4, 5)),
        "commit": b"s" + b"".join(
            struct.pack(">BBH", number << 1, 0, len(item.data)) + item.data
            for number, item in zip((1, 2, 3, 3), state, strict=True)
        ),
    }  # fmt: skip


def _http() -> Seeds:
    ok = b"HTTP/1.1 200 OK\r\n"
    return {
        "counted": b"="
        + ok
        + b"Content-Type: text/plain\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\nContent-Length: 5\r\n\r\nhello",
        "chunked": b"=" + ok + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nTrailer: x\r\n\r\n",
        "until-end": b"e" + b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 300,
        "gzip": b"z" + b"hello " * 50,
        "gzip-tail": b"z" + b"hello" + SEPARATOR + b"more that is no gzip",
        "gzip-twice": b"z" + b"hello" + SEPARATOR + gzip.compress(b"again", mtime=0),
        "gzip-bomb": b"z" + bytes(6000),
        "retry-after": b"=HTTP/1.1 503 Busy\r\nRetry-After: " + b"9" * 5000 + b"\r\nContent-Length: 0\r\n\r\n",
        "retry-date": b"=HTTP/1.1 429 Busy\r\nRetry-After: Tue, 14 Nov 2023 22:13:20 GMT\r\n"
        b"Date: Fri, 31 Feb 9999 23:59:60 GMT\r\n\r\n",
        "redirect": b"=HTTP/1.1 301 Moved\r\nLocation: https://u:p@[::1]:8443/r.git?x#y\r\nContent-Length: 0\r\n\r\n",
        "redirect-port": b"=HTTP/1.1 302 Moved\r\nLocation: http://host:" + b"1" * 5000 + b"/\r\n\r\n",
        "interim": b"=" + b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + ok + b"Connection: close\r\n\r\nx",
        "lengths": b"=" + ok + b"Content-Length: 5, 5\r\nContent-Length: 6\r\n\r\nhello",
        "chunk-sizes": b"=" + ok + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        "chunk-huge": b"=" + ok + b"Transfer-Encoding: chunked\r\n\r\nffffffffffff\r\nxx",
        "no-end": b"=" + ok + b"a: b\r\n" * 900,
        "long-line": b"=" + ok + b"x" * 9000,
        "error-cut": b"=HTTP/1.1 404 No\r\nContent-Length: 50\r\n\r\nshort",
        "bare-lines": b"=HTTP/1.1 200\nA:1\nA: 2\n\nbody",
    }


def _words() -> Seeds:
    return {
        "hook": b"hook declined\nGH006: Protected branch update failed\n"
        b"remote: 'refs/a' exists; cannot create 'refs/a/b'",
        "addresses": b"fatal: unable to access 'https://x:y@host/': ssh://u:p@h git+ssh://u@h:22/r http://a:80/b@c",
        "headers": b'Authorization: Bearer abc.def_12345\nPRIVATE-TOKEN: "glpat-aaaaaaaaaaaaaaaaaaaa"\nCookie=a',
        "shapes": b"ghp_" + b"A" * 36 + b" eyJabcdefgh.abcdefghij.x AKIAABCDEFGHIJKLMNOP token=1 access_token: 'z'",
        "schemes": b"a+" * 1500 + b"://",
        "at-signs": b"a://b:" * 600 + b"@",
        "parameters": b"a-" * 1700 + b"token",
        "controls": bytes(range(256)) * 3,
        "quotes": b"'" * 3000 + b"' exists; cannot create '",
    }


def _gitconfig() -> Seeds:
    return {
        "plain": b'=[core]\n\tbare = false ; x\n[remote "origin"]\n\turl = https://u:p@host/r.git\n'
        b"\tfetch = +refs/*:refs/*\n",
        "values": b'=[a "b\\"c\\\\"]\n k = "x # y" z\\\n  w \\t\\n\n flag\n n = 5k\n[A.Old] N = -0x1F\n',
        "urls": b'=[http "https://*.host.example:0443/%2e%2E/a"]\n sslVerify = no\n'
        b'[http "file:///x"]\n extraHeader =\n',
        "port": b'=[remote "o"]\n url = https://host:' + b"1" * 5000 + b"/\n",
        "number": b"=[core]\n x = " + b"9" * 5000 + b"\n y = " + b"9" * 4000 + b"g\n",
        "open-quote": b'=[a]\n k = "never closed\n',
        "open-subsection": b'=[a "b\\',
        "backslash-end": b"=[a]\nk = v\\",
        "bom-crlf": b"=\xef\xbb\xbf[a]\r\n k = v \\\r\n w\r\n",
        "bytes": b'=[a "\xff"]\n k = \xc3\x28\0\n',
        "parameters": b"p1\n'user.name'='a'\\''b' 'http.https://x/.y=z' 'flag'",
        "count": b"p" + b"9" * 5000 + b"\n'a.b'='c'",
        "count-words": b"p -1\n'a.b",
    }


def _merge(head: bytes, *sides: bytes) -> bytes:
    return _joined(head, *sides)


def _merge_text() -> Seeds:
    base = b"".join(b"line %d\n" % number for number in range(40))
    ours, theirs = base.replace(b"line 3\n", b"line three\nand more\n"), base.replace(b"line 30\n", b"")
    repeated = b"".join(b"%d\n" % (number * 7 % 64) for number in range(120))
    shuffled = b"".join(b"%d\n" % (number * 11 % 64) for number in range(120))
    return {
        "clean": _merge(b"", base, ours, theirs),
        "conflict": _merge(b"", base, ours, base.replace(b"line 3\n", b"line 33\n")),
        "absent": _merge(b"", b"(absent)", ours, theirs),
        "crlf": _merge(b"", base.replace(b"\n", b"\r\n"), ours, theirs + b"no end"),
        "repeated": _merge(b"", repeated, shuffled, repeated[::-1]),
        "blank": _merge(b"", b"\n" * 500, b"\n" * 300 + b"x\n" + b"\n" * 300, b"\n" * 400 + b"y\n" + b"\n" * 90),
        "binary": _merge(b"", b"a\0b\n", b"a\0c\n", b"a\0d\n"),
        "swapped": _merge(b"", b"a\nb\nc\nd\ne\n", b"c\nd\na\nb\ne\n", b"a\nb\nX\nc\nd\ne\n"),
    }


def _merge_json() -> Seeds:
    base = json.dumps({"a": 1, "b": [1, 2], "c": {"d": {"e": "x"}}, "n": 5}, indent=2).encode()
    ours, theirs = base.replace(b'"a": 1', b'"a": 2, "o": 1.50'), base.replace(b'"e"', b'"f/~"')
    ids = [json.dumps([{"id": n, "v": n * v} for n in range(4)]).encode() for v in (1, 2, 3)]
    nested = b"[" * 200 + b"]" * 200
    return {
        "clean": _merge(b"json", base, ours, theirs),
        "ids": _merge(b"json:arrays=id", *ids),
        "sum": _merge(b"json:arrays=append,numbers=sum", base, ours, base.replace(b'"n": 5', b'"n": 7e-3')),
        "sum-huge": _merge(b"json:arrays=append,numbers=sum", b"(absent)", b'{"n": 1e2000}', b'{"n": 2e1999}'),
        "max": _merge(b"json:arrays=set,numbers=max", base, ours, theirs),
        "nested": _merge(b"json", b"{}", nested, b'{"a": 1}'),
        "indent": _merge(b"json", b"{}", b'{"x":[[[[1,2,3,4]]]]}', b"{\n" + b" " * 3000 + b'"y": {}}'),
        "gap": _merge(b"json", b"{}", b'{"x":[1,2,3,4],"z":1,"w":2}', b'{"y": 1,' + b" " * 3000 + b'"v": 2}'),
        "escapes": _merge(b"json", b"{}", b'{"\\ud800": "\\u00e9"}', '{"\\ud83d\\ude00": "ä"}'.encode()),
        "numbers": _merge(b"json", b"[1]", b"[1, " + b"9" * 5000 + b"]", b"[1, -0.0, 1E+5]"),
        "bom-crlf": _merge(b"json", b"{}", b'{"a": 1}', b'\xef\xbb\xbf{\r\n\t"b": 2\r\n}\r\n'),
        "twice": _merge(b"json", b"{}", b'{"a": 1, "a": 2}', b'{"b": 1}'),
    }


def _merge_lines() -> Seeds:
    rows = b"".join(b'{"id": %d, "v": "x"}\n' % number for number in range(8))
    csv = b'id,name\n1,"a\nb"\n2,c\n'
    return {
        "plain": _merge(b"lines", b"a\nb\n", b"a\nb\nc\n", b"a\nd\n"),
        "keyed": _merge(b"lines:key=id", rows, rows.replace(b'1, "v": "x"', b'1, "v": "o"'), rows[22:]),
        "sorted": _merge(b"lines:key=id,sort", rows, rows + b'{"id": "z"}\n{"id": 1e400}\n', rows + b'{"id": -5}\n'),
        "csv": _merge(b"lines:key=id csv", csv, csv + b"3,d\n", csv.replace(b"2,c", b"2,e")),
        "csv-open": _merge(b"lines csv", csv, b'id,name\n1,"' + b"\n" * 3000, csv + b"4,x\n"),
        "crlf": _merge(b"lines", b"a\r\n", b"a\r\nb\r\n", b"a\r\nc"),
        "nested": _merge(b"lines:key=id", b"", b'{"id":' + b"[" * 3000 + b"\n", b'{"id": null}\n{"id": true}\n'),
        "utf-16": _merge(b"lines:key=id", b"", '{"id": 1}'.encode("utf-16") + b"\n", b"\xff\xfe\n"),
    }


def _merge_yaml() -> Seeds:
    base = b"# top\na: 1\nb:\n  - x\n  - y  # why\nc: {d: 1}\n"
    return {
        "clean": _merge(b"yaml", base, base + b"e: |\n  text\n", base.replace(b"a: 1", b"a: 0x10")),
        "list": _merge(b"yaml:arrays=append,numbers=sum", base, base.replace(b"  - x\n", b""), base + b"f: 2\n"),
        "dates": _merge(b"yaml", base, base + b"t: 2001-99-99\n", base + b"t: 2001-12-14t21:59:43.10-05:00\n"),
        "anchors": _merge(b"yaml", base, b"a: &x 1\nb: *x\n", base + b"z: 1\n"),
        "keys": _merge(b"yaml", base, b"? [1, 2]\n: x\n1: y\n.nan: z\n<<: {q: 1}\n", base + b"true: no\n"),
        "nested": _merge(b"yaml", base, b"a: " + b"[" * 300 + b"]" * 300, base + b"z: 1\n"),
        "number": _merge(b"yaml", base, b"a: " + b"9" * 1500 + b"\n", base + b"z: 1_000.5e3\n"),
        "documents": _merge(b"yaml", base, b"--- 1\n--- 2\n", b"%YAML 1.1\n---\na: 1\n...\n"),
    }


def _merge_toml() -> Seeds:
    base = b"# top\na = 1\n[t]\nb = [1, 2] # why\n[[r]]\nid = 1\n[[r]]\nid = 2\n"
    return {
        "clean": _merge(
            b"toml", base, base.replace(b"a = 1", b"a = 0x10\nd = 1979-05-27"), base + b"[u]\nz = '''x'''\n"
        ),
        "ids": _merge(b"toml:arrays=id", base, base + b"v = 1\n", base + b"[[r]]\nid = 3\n"),
        "dotted": _merge(b"toml", base, b"a.b.c = 1\na.b.d = 2\n", b"[a]\nb.e = inf\n[a.f]\n"),
        "out-of-order": _merge(
            b"toml", b"[a]\nx=1\n[b]\n[a.c]\n", b"[a]\nx=2\n[b]\n[a.c]\n", b"[a]\n[b]\n[a.c]\ny=1\n"
        ),
        "nested": _merge(b"toml", base, b"a = " + b"[" * 2000 + b"]" * 2000, base + b"z = 1\n"),
        "number": _merge(b"toml", base, b"a = " + b"9" * 5000 + b"\n", base + b"z = 1_000.5e3\n"),
        "dates": _merge(b"toml", base, b"a = 2001-99-99\n", b"a = 07:32:00.999999999999\n"),
    }


def _objects() -> Seeds:
    people = b"author A <a@x> 1700000000 +0000\ncommitter A <a@x> 1700000000 +0000\n\nwords\n"
    tree = b"tree\n100644 a.txt\0@2" + b"40000 d\0@3"
    inner = b"tree\n100755 run\0@2" + b"120000 z\0@2"
    return {
        "sound": _joined(b"tree @1\n" + people, tree, b"text\n", inner),
        "dot-git": _joined(b"tree @1\n" + people, b"tree\n40000 .GIT\0@3", b"text\n", inner),
        "backslashes": _joined(b"tree @1\n" + people, b"tree\n100644 " + b"\\g" * 2000 + b"\0@2", b"text\n"),
        "unsorted": _joined(b"tree @1\n" + people, b"tree\n100644 b\0@2" + b"100644 a\0@2", b"text\n"),
        "twice": _joined(b"tree @1\n" + people, b"tree\n100644 a\0@2" + b"40000 a\0@3", b"text\n", inner),
        "attributes": _joined(b"tree @1\n" + people, b"tree\n100644 .gitattributes\0@2", b"x" * 3000),
        "header": _joined(b"tree @1\nparent @2\n" + people.replace(b"<a@x>", b"<a@x"), tree, b"text\n", inner),
        "invisible": _joined(b"tree @1\n" + people, b"tree\n40000 .g\xe2\x80\x8cit\0@3", b"text\n", inner),
        "cut": _joined(b"tree @1\n" + people, b"tree\n100644 a\0short"),
    }


def _names() -> Seeds:
    return {
        "lock": b"deploy/prod",
        "ref": b"refs/heads/feature/x",
        "ticket": b"main/t-0000001700000000-" + b"ab" * 12,
        "oid": b"1" * 40,
        "odd": 'a"<b>&c/é\U0001f512/\u202e'.encode(),
        "bytes": b"\xff\xed\xa0\x80/\x00",
        "dots": b"a..b/.c/d.lock/@{e}//",
        "slashes": b"/" * 300,
    }


def _journals() -> Seeds:
    entry = TreeEntry(0o100644, b"1" * 40)
    path = MovePath(b"caf\xc3\xa9/\xff", entry, None, True, entry, None, StatData(*range(9)))
    landing = JournalLanding("https://host/r", RefName("refs/heads/main"), RefName("refs/locks/main"), NONCE, (OID,))
    text = encode(Journal(landing, Move(RefName("refs/heads/main"), None, OID, (path, path))))
    return {
        "whole": text,
        "cut": text[: len(text) // 2],
        "empty": b"",
        "nested": b'{"version": 1, "landing": ' + b"[" * 9000,
        "infinite": text.replace(b"33188", b"1e999"),
        "types": text.replace(b'"refs/heads/main"', b"[1]"),
        "surrogate": text.replace(b"\\udcff", b"\\ud800"),
    }


def _leases() -> Seeds:
    stored = StoredLease(
        "r", MAIN, NONCE, Writer({"CI_JOB_ID": "7"}, "s", "/w"), LeaseTiming.for_ttl(60.0), _state().state, "boot",
        ClockReading(1000.0, 1100.0, 1_700_000_000.0), ServerClock((ServerDate(1_700_000_000, 999.0, 999.5),)),
    )  # fmt: skip
    text = stored.encode()
    seen = b'{"boot_id":"boot","remotes":{"r":{"main":{"tip":"' + b"1" * 40 + b'","monotonic_s":1,"wall_s":2}}}}'
    return {
        "whole": _joined(text, seen),
        "types": _joined(text.replace(b'"7"', b"[7]"), seen.replace(b'"monotonic_s":1', b'"monotonic_s":1e12')),
        "tip": text.replace(b'"tip": "', b'"tip": "x'),
        "times": text.replace(b'"ttl_s": 60.0', b'"ttl_s": 5e-324'),
        "number": _joined(text.replace(b'"schema": 1', b'"schema": ' + b"9" * 5000), b'{"remotes":[]}'),
    }


def _config() -> Seeds:
    return {
        "whole": b'=ttl = "90s"\nwait = "1h30m"\n[retry]\nbase = 0.5\n[priorities]\ndefault = 5\n"dep*" = 9\n'
        b'[workflows."a b"]\nttl = 60\n[strategies]\n"*.json" = "json"\n',
        "pyproject": b'p[tool.gitref-lock]\nref-prefix = "refs/heads/locks"\non-timeout = "fail"\n',
        "tool": b"ptool = 1 # gitref-lock\n",
        "tool-list": b"ptool = [1] # gitref-lock\n",
        "number": b"=ttl = " + b"9" * 5000 + b"\n",
        "duration": b"=wait = " + b"9" * 400 + b"\n",
        "duration-text": b'=wait = "' + b"9" * 400 + b's"\n',
        "nested": b"=x = " + b"[" * 5000,
        "float": b"=timeout = inf\nkill-after = nan\n",
        "bytes": b"=\xff\xfe",
        "surrogate": b'=holder = "\\ud800"\n',
    }


def _workflows() -> Seeds:
    text = b"""on: push
jobs:
  a:
    timeout-minutes: 60
    permissions: {contents: read}
    steps:
      - uses: actions/checkout@v4
        with:
          persist-credentials: false
      - run: |
          gitref-lock acquire main --ttl 5m
      - {name: x, run: gitref-lock push -A}
"""
    return {
        "whole": text,
        "tabs": text.replace(b"  ", b"\t"),
        "commas": b"a: [" + b"," * 8000,
        "brackets": b"a: {\n" * 1000,
        "items": b"- " * 3000 + b"x\n",
        "keys": b"".join(b" " * number + b"k:\n" for number in range(130)),
        "numbers": text.replace(b"60", b"1e999").replace(b"5m", b"9" * 400),
    }


def _attributes() -> Seeds:
    return {
        "plain": _joined(
            b'*.json merge=json -text !eol\n"a\\tb" x\n[attr]mine binary\n!neg y\n/root/** z\n', b"a/b.json"
        ),
        "patterns": _joined(b"a/**/b\n**/c\n[[:alpha:]]*[!a-c]\\?\n[z-a]\n[\nd\\\n!e/\n", b"a/x/b"),
        "stars": _joined(b"*a*a*a*a*a*a*a*a*b\n", b"a" * 60),
        "deep-stars": _joined(b"**/a/**/a/**/a/**/a/b\n", b"a/" * 40 + b"c"),
    }


def all_seeds() -> dict[str, Seeds]:
    """Return every target's seeds by name."""
    return {
        "record": _record(), "history": _history(), "ticket": _tickets(), "names": _names(), "wire": _wire(),
        "pack": _packs(), "http": _http(), "words": _words(), "gitconfig": _gitconfig(), "objects": _objects(),
        "merge-text": _merge_text(), "merge-json": _merge_json(), "merge-lines": _merge_lines(),
        "merge-yaml": _merge_yaml(), "merge-toml": _merge_toml(), "journal": _journals(), "lease": _leases(),
        "config": _config(), "workflows": _workflows(), "attributes": _attributes(),
    }  # fmt: skip


def write_all() -> None:
    """Write every seed to its file."""
    for target, seeds in all_seeds().items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in seeds.items():
            (folder / name).write_bytes(data)
