#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Verifies an attest receipt; a second implementation of its format.

Written from attestation/receipt/FORMAT.md alone, with the standard library and,
for the signature, the openssl program. It is here to keep that page honest, and
for whoever wants to check a receipt without trusting attest.

    verify_receipt.py --root PROJECT --key PUBLIC_KEY_FILE RECEIPT

Prints one line for each check and exits with 0 if all passed, else with 4.
"""

import argparse
import hashlib
import json
import os
import re
import stat
import struct
import subprocess
import sys
import tempfile

# --- BLAKE3, plain and slow ---------------------------------------------------

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
      0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
MASK = 0xFFFFFFFF


def mix(v, a, b, c, d, x, y):
    v[a] = (v[a] + v[b] + x) & MASK
    t = v[d] ^ v[a]
    v[d] = (t >> 16 | t << 16) & MASK
    v[c] = (v[c] + v[d]) & MASK
    t = v[b] ^ v[c]
    v[b] = (t >> 12 | t << 20) & MASK
    v[a] = (v[a] + v[b] + y) & MASK
    t = v[d] ^ v[a]
    v[d] = (t >> 8 | t << 24) & MASK
    v[c] = (v[c] + v[d]) & MASK
    t = v[b] ^ v[c]
    v[b] = (t >> 7 | t << 25) & MASK


def compress(cv, block, counter, length, flags):
    """Returns the first eight words of the compression function's output."""
    m = list(struct.unpack("<16I", block.ljust(64, b"\0")))
    v = list(cv) + list(IV[:4]) + [counter & MASK, counter >> 32, length, flags]
    for _ in range(7):
        mix(v, 0, 4, 8, 12, m[0], m[1])
        mix(v, 1, 5, 9, 13, m[2], m[3])
        mix(v, 2, 6, 10, 14, m[4], m[5])
        mix(v, 3, 7, 11, 15, m[6], m[7])
        mix(v, 0, 5, 10, 15, m[8], m[9])
        mix(v, 1, 6, 11, 12, m[10], m[11])
        mix(v, 2, 7, 8, 13, m[12], m[13])
        mix(v, 3, 4, 9, 14, m[14], m[15])
        m = [m[i] for i in PERMUTATION]
    return [v[i] ^ v[i + 8] for i in range(8)]


def subtree(data, first, root):
    """Chaining value of the chunks of data, the first of which has that number."""
    if len(data) > 1024:
        chunks = (len(data) + 1023) // 1024
        left = 1024 << ((chunks - 1).bit_length() - 1)
        block = struct.pack("<16I", *subtree(data[:left], first, 0),
                            *subtree(data[left:], first + left // 1024, 0))
        return compress(IV, block, 0, 64, PARENT | root)
    cv, blocks = IV, [data[i:i + 64] for i in range(0, len(data), 64)] or [b""]
    for i, block in enumerate(blocks):
        flags = CHUNK_START if i == 0 else 0
        if i == len(blocks) - 1:
            flags |= CHUNK_END | root
        cv = compress(cv, block, first, len(block), flags)
    return cv


def blake3(data):
    return struct.pack("<8I", *subtree(data, 0, ROOT)).hex()


# --- The document: section 1 and 2 --------------------------------------------


class Bad(Exception):
    """A check failed."""


WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*\Z")
RESERVED = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
ESCAPED = re.compile(
    '["\\\\\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f'
    "\ufeff\ufff0-\ufffb\ufffe\uffff]")
SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}

# (key, kind, optional). Kinds: word, text, seconds, int, bool, words, env, a
# list of fields for a flow map, ("rows", fields), ("block", fields).
INPUT = [("path", "text", False), ("mode", "text", True), ("hash", "text", False)]
OUTPUT = INPUT + [("sha256", "text", False)]
FETCH = [("url", "text", False), ("sha256", "text", False)]
FILE = [("path", "text", False), ("hash", "text", False)]
REPRODUCTION = [
    ("verdict", "word", False), ("varied", "words", True),
    ("differences", ("rows", [("path", "text", False), ("inside", "text", True),
                              ("offset", "offset", True), ("cause", "word", False)]), True),
]
STEP = [
    ("name", "text", False), ("command", "text", False), ("type", "word", True),
    ("status", "word", False), ("exit_code", "int", False), ("error", "text", True),
    ("duration_secs", "seconds", False), ("cache", "word", False), ("key", "text", True),
    ("isolation", "word", False), ("network", "word", True), ("controls", "words", True),
    ("caches", "words", True), ("secrets", "words", True), ("fetched", ("rows", FETCH), True),
    ("unfetched", "words", True),
    ("read", ("rows", FILE), True), ("programs", ("rows", FILE), True),
    ("missing", "words", True), ("missing_programs", "words", True), ("unread", "words", True),
    ("unexpected", "words", True), ("modified", "words", True),
    ("reproduction", ("map", REPRODUCTION), True),
    ("image", "text", True), ("env", "env", True), ("pass_env", "words", True),
    ("needs", "words", True), ("inputs", ("rows", INPUT), True),
    ("outputs", ("rows", OUTPUT), True), ("log", "text", True),
]
DOCUMENT = [
    ("schema", "word", False), ("pipeline_hash", "text", False), ("timestamp", "text", False),
    ("total_duration_secs", "seconds", False), ("attest_version", "text", False),
    ("status", "word", False),
    ("pipeline", [("name", "word", False), ("file", "word", False)], False),
    ("source", [("commit", "text", True), ("dirty", "bool", False)], True),
    ("environment", [("os", "word", False), ("arch", "word", False), ("engine", "text", True)], False),
    ("steps", ("block", STEP), False), ("signature", "text", True), ("signer_public_key", "text", True),
]


class Reader:
    def __init__(self, text):
        self.text, self.at = text, 0

    def take(self, what):
        if self.text.startswith(what, self.at):
            self.at += len(what)
            return True
        return False

    def want(self, what):
        if not self.take(what):
            line = self.text.count("\n", 0, self.at) + 1
            raise Bad("line %d: want %r before %r" % (line, what, self.text[self.at:self.at + 40]))

    def match(self, pattern, what):
        m = re.compile(pattern).match(self.text, self.at)
        if not m:
            line = self.text.count("\n", 0, self.at) + 1
            raise Bad("line %d: no %s" % (line, what))
        self.at = m.end()
        return m.group()

    def fields(self, fields, first, indent):
        out = {}
        for key, kind, optional in fields:
            if optional and not self.text.startswith(first + key + ":", self.at):
                continue
            self.want(first + key + ":")
            first = indent
            if isinstance(kind, tuple):
                self.want("\n")
                if kind[0] == "map":
                    out[key] = self.fields(kind[1], indent + "  ", indent + "  ")
                else:
                    out[key] = self.items(kind[0], kind[1], indent)
            else:
                self.want(" ")
                out[key] = self.value(kind)
                self.want("\n")
        return out

    def items(self, layout, fields, indent):
        out, start = [], indent + "  - "
        while self.text.startswith(start, self.at):
            if layout == "block":
                out.append(self.fields(fields, start, indent + "    "))
            else:
                self.want(start)
                out.append(self.value(fields))
                self.want("\n")
        if not out:
            raise Bad("an empty list")
        return out

    def value(self, kind):
        if kind == "int":
            n = int(self.match(r"-?(0|[1-9][0-9]{0,9})(?![0-9])", "whole number"))
            if not -2**31 <= n < 2**31:
                raise Bad("a whole number out of range")
            return n
        if kind == "offset":
            n = int(self.match(r"[1-9][0-9]{0,15}(?![0-9])", "offset"))
            if n >= 2**53:
                raise Bad("an offset out of range")
            return n
        if kind == "seconds":
            return Number(self.match(r"(0|[1-9][0-9]{0,9})(\.[0-9]{0,2}[1-9])?(?![0-9.])", "number of seconds"))
        if kind == "bool":
            return self.match("true|false", "boolean") == "true"
        if kind in ("text", "word"):
            return self.string(kind)
        if kind == "words":
            out = []
            self.want("[")
            while not out or self.take(", "):
                out.append(self.string("word"))
            self.want("]")
            return out
        out = {}
        self.want("{")
        if kind == "env":
            while not out or self.take(", "):
                key = self.string("word")
                if out and key.encode() <= list(out)[-1].encode():
                    raise Bad("variables out of order")
                self.want(": ")
                out[key] = self.string("word")
        else:
            comma = ""
            for key, kind_of, optional in kind:
                if optional and not self.text.startswith(comma + key + ": ", self.at):
                    continue
                self.want(comma + key + ": ")
                comma = ", "
                out[key] = self.value(kind_of)
        self.want("}")
        return out

    def string(self, kind):
        if not self.text.startswith('"', self.at):
            if kind == "word":
                word = self.match(r"[A-Za-z_][A-Za-z0-9_./-]*", "word")
                if word.lower() not in RESERVED:
                    return word
            raise Bad("a string without quotes at %r" % self.text[self.at:self.at + 20])
        quoted = self.match(r'"(?:[^"\\\n]|\\.)*"', "string")
        try:
            s = json.loads(quoted)
        except ValueError as e:
            raise Bad("a damaged string: %s" % e)
        # One spelling: what was read, written again, must be what was read.
        if spell(s, kind) != quoted:
            raise Bad("another spelling of %s" % quoted[:40])
        return s


class Number(str):
    """A number kept as its digits, which are the same in JSON."""


def spell(s, kind):
    if kind == "word" and WORD.match(s) and s.lower() not in RESERVED:
        return s
    return '"' + ESCAPED.sub(lambda m: SHORT.get(m.group()) or "\\u%04x" % ord(m.group()), s) + '"'


def read(data):
    if len(data) > 64 << 20:
        raise Bad("too large")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as e:
        raise Bad(str(e))
    newer = re.match(r"schema: attest\.receipt/v([1-9][0-9]*)\n", text)
    if newer and newer.group(1) != "1":
        raise Bad("receipt from a newer version: a newer program is needed")
    reader = Reader(text)
    doc = reader.fields(DOCUMENT, "", "")
    if reader.at != len(text):
        raise Bad("line %d: unknown, repeated or out of place" % (text.count("\n", 0, reader.at) + 1))
    check_document(doc)
    return doc


def check_document(doc):
    def want(ok, what):
        if not ok:
            raise Bad(what)

    def is_blake3(s):
        return re.fullmatch(r"blake3:[0-9a-f]{64}", s)

    want(doc["schema"] == "attest.receipt/v1", "schema")
    want(is_blake3(doc["pipeline_hash"]), "pipeline_hash")
    want(is_time(doc["timestamp"]), "timestamp")
    want(doc["status"] in ("succeeded", "failed", "interrupted"), "status")
    want(doc["pipeline"]["name"] and is_clean(doc["pipeline"]["file"]), "pipeline")
    want(("signature" in doc) == ("signer_public_key" in doc), "half a signature")
    want(re.fullmatch(r"ed25519:[0-9a-f]{128}", doc.get("signature", "ed25519:" + "0" * 128)), "signature")
    want(re.fullmatch(r"ed25519:[0-9a-f]{64}", doc.get("signer_public_key", "ed25519:" + "0" * 64)), "signer_public_key")
    names = [s["name"] for s in doc["steps"]]
    want(all(names) and len(set(names)) == len(names), "names of steps")
    for s in doc["steps"]:
        want(s["status"] in ("succeeded", "failed", "skipped", "interrupted"), "status of a step")
        want(s["cache"] in ("hit", "miss", "off") and s["isolation"], "cache or isolation")
        want(all(is_blake3(s[k]) for k in ("key", "log") if k in s), "key or log")
        check_findings(s, want, is_blake3)
        for rows in (s.get("inputs", []), s.get("outputs", [])):
            last, folder = None, None
            for row in rows:
                path = row["path"]
                is_folder = path.endswith("/")
                want(is_clean(path[:-1] if is_folder else path), "path %r" % path)
                want(last is None or last < path.encode(), "rows out of order")
                want(folder is None or not path.startswith(folder), "a row within another")
                last, folder = path.encode(), path if is_folder else folder
                want("mode" not in row if is_folder else row.get("mode") in ("0644", "0755", "symlink"), "mode")
                want(is_blake3(row["hash"]) and re.fullmatch("[0-9a-f]{64}", row.get("sha256", "0" * 64)), "hash")


def check_findings(s, want, is_blake3):
    def ordered(keys):
        return all(a < b for a, b in zip(keys, keys[1:]))

    paths = ("missing", "unread", "unexpected", "modified")
    for key in ("caches", "secrets", "unfetched", "missing_programs") + paths:
        names = [n.encode() for n in s.get(key, [])]
        want(all(names) and ordered(names), key)
        want(key not in paths or all(map(is_clean, s.get(key, []))), "path in " + key)
    fetched = s.get("fetched", [])
    want(all(f["url"] and re.fullmatch("[0-9a-f]{64}", f["sha256"]) for f in fetched), "fetched")
    want(ordered([(f["url"].encode(), f["sha256"]) for f in fetched]), "fetched out of order")
    for key in ("read", "programs"):
        rows = s.get(key, [])
        want(ordered([r["path"].encode() for r in rows]) and all(is_blake3(r["hash"]) for r in rows), key)
    want(all(is_clean(r["path"]) for r in s.get("read", [])), "path in read")
    want(all(r["path"][:1] == "/" and is_clean(r["path"][1:]) for r in s.get("programs", [])), "path in programs")
    if "reproduction" in s:
        r = s["reproduction"]
        varied = [v.encode() for v in r.get("varied", [])]
        want(all(varied) and ordered(varied), "varied")
        want(r["verdict"] == ("different" if "differences" in r else "identical"), "verdict")
        want(all(is_clean(d["path"]) and d["cause"] for d in r.get("differences", [])), "differences")


def is_time(s):
    m = re.fullmatch(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})Z", s)
    if not m:
        return False
    year, month, day, hour, minute, second = map(int, m.groups())
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    return (year > 0 and 1 <= month <= 12 and 1 <= day <= days[month - 1]
            and hour < 24 and minute < 60 and second < 60)


def is_clean(path):
    return "\0" not in path and all(c not in ("", ".", "..") for c in path.split("/"))


# --- Files: section 3 ---------------------------------------------------------


def standing(root, path):
    """lstat of a path below root, None where a folder on the way is none."""
    at = os.fsencode(root)
    parts = os.fsencode(path).split(b"/")
    try:
        for part in parts[:-1]:
            at = os.path.join(at, part)
            if not stat.S_ISDIR(os.lstat(at).st_mode):
                return None, at
        at = os.path.join(at, parts[-1])
        return os.lstat(at), at
    except FileNotFoundError:
        return None, at


def content(info, at):
    """Kind, mode and bytes of a file or link."""
    if stat.S_ISLNK(info.st_mode):
        return "l", "symlink", os.readlink(at)
    if stat.S_ISREG(info.st_mode):
        with open(at, "rb") as f:
            return "f", "0755" if info.st_mode & 0o100 else "0644", f.read()
    raise Bad("%r is a special file" % at)


def listing(folder):
    records = []

    def walk(at, rel):
        names = os.listdir(at)
        if not names and rel:
            records.append((rel, b"d 0755 0 -"))
        for name in names:
            path, below = os.path.join(at, name), rel + b"/" + name if rel else name
            info = os.lstat(path)
            if stat.S_ISDIR(info.st_mode):
                walk(path, below)
                continue
            kind, mode, data = content(info, path)
            mode = "0777" if kind == "l" else mode
            records.append((below, ("%s %s %d %s" % (kind, mode, len(data), blake3(data))).encode()))

    walk(folder, b"")
    return b"attest.listing/v1\n" + b"".join(
        head + b" %d:" % len(path) + path + b"\n" for path, head in sorted(records))


def check_row(root, row):
    path = row["path"]
    info, at = standing(root, path.rstrip("/"))
    if info is None:
        raise Bad("%s is not there" % path)
    if path.endswith("/") != stat.S_ISDIR(info.st_mode):
        raise Bad("%s is something else" % path)
    if path.endswith("/"):
        data = listing(at)
    else:
        _, mode, data = content(info, at)
        if mode != row["mode"]:
            raise Bad("%s: mode is %s, not %s" % (path, mode, row["mode"]))
    if "blake3:" + blake3(data) != row["hash"]:
        raise Bad("%s: hash differs" % path)
    if "sha256" in row and hashlib.sha256(data).hexdigest() != row["sha256"]:
        raise Bad("%s: sha256 differs" % path)


# --- The signature: section 4 -------------------------------------------------


def canonical(value):
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        keys = sorted(value, key=lambda k: k.encode("utf-16-be"))
        return "{" + ",".join(canonical(k) + ":" + canonical(value[k]) for k in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    return json.dumps(value, ensure_ascii=False)  # strings, whole numbers, booleans


def check_signature(doc, key_file):
    if "signature" not in doc:
        raise Bad("not signed")
    der = subprocess.run(["openssl", "pkey", "-pubin", "-in", key_file, "-outform", "DER"],
                         check=True, capture_output=True).stdout
    if "ed25519:" + der[-32:].hex() != doc["signer_public_key"]:
        raise Bad("signed in the name of a key that is not believed")
    message = canonical({k: v for k, v in doc.items() if k != "signature"}).encode()
    with tempfile.TemporaryDirectory() as tmp:
        files = {"message": message, "signature": bytes.fromhex(doc["signature"][8:])}
        for name, data in files.items():
            with open(os.path.join(tmp, name), "wb") as f:
                f.write(data)
        done = subprocess.run(["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", key_file,
                               "-sigfile", os.path.join(tmp, "signature"), "-in", os.path.join(tmp, "message")],
                              capture_output=True)
    if done.returncode != 0:
        raise Bad("the signature does not verify")


# --- Verification: section 5 --------------------------------------------------


def check_run(doc):
    for what in [doc] + doc["steps"]:
        if what["status"] != "succeeded" or what.get("exit_code", 0) != 0:
            raise Bad("marked %s" % what["status"])
        if what.get("reproduction", {}).get("verdict") == "different":
            raise Bad("not reproduced")


def check_pipeline(doc, root):
    info = None
    at = os.path.realpath(os.path.join(root, doc["pipeline"]["file"]))
    if os.path.commonpath([at, os.path.realpath(root)]) == os.path.realpath(root) and os.path.exists(at):
        info = os.stat(at)
    if info is None or not stat.S_ISREG(info.st_mode):
        raise Bad("no pipeline file")
    with open(at, "rb") as f:
        if "blake3:" + blake3(f.read()) != doc["pipeline_hash"]:
            raise Bad("the pipeline file differs")


def check_files(doc, root):
    for step in doc["steps"]:
        for row in step.get("inputs", []) + step.get("outputs", []):
            check_row(root, row)


def main():
    parser = argparse.ArgumentParser(description="verify an attest receipt")
    parser.add_argument("--root", default=".", help="the project's folder")
    parser.add_argument("--key", required=True, help="file with the public key to believe")
    parser.add_argument("receipt")
    args = parser.parse_args()
    with open(args.receipt, "rb") as f:
        data = f.read()
    failed = []

    def check(name, function, *arguments):
        try:
            result = function(*arguments)
            print("ok %s" % name)
            return result
        except (Bad, OSError, subprocess.CalledProcessError) as e:
            print("FAILED %s: %s" % (name, e))
            failed.append(name)
            return None

    doc = check("format", read, data)
    if doc is not None:
        check("run", check_run, doc)
        check("pipeline", check_pipeline, doc, args.root)
        check("files", check_files, doc, args.root)
        check("signature", check_signature, doc, args.key)
    return 4 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
