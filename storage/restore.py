#!/usr/bin/env python3
"""Restores one object of a vault without wakachi; written from storage/DESIGN.md beside this file alone.

Checks the core's hash, fragment headers, the hash commitment of every share and the FLOE tag of every segment, but NOT
signatures: who made the documents is not proved. Not constant-time: use a machine of your own. Example, in any order:
  restore.py --seal seal.json --core core.json -o OUT --share a.json b.json -- 00.fragment 02.fragment 04.fragment
Exit codes: 0 restored; 1 failed; 2 usage; 3 bad input; 6 damaged beyond repair; 7 too few shares or fragments."""
import argparse, atexit, collections, contextlib, functools, hashlib, hmac, itertools, json, os, struct, sys
try:
    import cryptography.exceptions, cryptography.hazmat.primitives.ciphers.aead as aead
except ImportError:
    sys.exit("restore.py: no AES-GCM here: apt-get install python3-cryptography (or pip install cryptography)")
INPUT, INTEGRITY, QUORUM = 3, 6, 7
BLOCK = 65_536    # bytes of an erasure block, which is an encrypted segment of FLOE; 32 of them are no ciphertext
TRIES_MAX = 1000  # choices of parity blocks tried for one row before it is given up
say = functools.partial(print, "restore.py:", file=sys.stderr)

def demand(holds, code, text):
    if not holds:
        say(text)
        sys.exit(code)

def field(polynomial):
    """Products in GF(2^8): times[a][b] is a times b, and block.translate(times[a]) multiplies a whole block by a."""
    double = bytes(2 * b ^ (polynomial if b >= 128 else 0) for b in range(256))
    times = [bytes(256), bytes(range(256))]
    for a in range(2, 256):
        times.append(bytes(twice ^ b * (a % 2) for b, twice in enumerate(times[a // 2].translate(double))))
    return times
SHARING, ERASURE = field(0x11b), field(0x11d)

def interpolate(times, known, at, length, k=0):
    """The share or block at the point `at` from others {point: bytes}, by Lagrange's formula. Shares are values of one
    polynomial (k = 0); so are the blocks of a row times apart(index, range(k)), for a Cauchy code is Reed-Solomon's."""
    apart = lambda x, points: functools.reduce(lambda a, b: times[a][b], [x ^ y for y in points if y != x], 1)
    total = 0
    for x, block in known.items():
        above = times[apart(at, known)][apart(x, range(k))]
        below = times[times[apart(x, known)][apart(at, range(k))]][at ^ x]
        total ^= int.from_bytes(block.translate(times[times[above][times[below].index(1)]]), "little")
    return total.to_bytes(length, "little")  # little-endian, because a short block counts as ended by zeros

class Object:
    """What core and seal say, once they fit each other, and the shares and fragments {x: (share, file)} that fit."""
    def __init__(self, core_line, seal_line):
        seal, self.core_hash = json.loads(seal_line, parse_float=str), hashlib.sha256(core_line).digest()
        demand(seal["core_sha256"] == self.core_hash.hex(), INTEGRITY, "damaged core or seal: the core's hash differs")
        core = json.loads(core_line, parse_float=str)
        fit = (core["format"], seal["format"], seal["id"]) == ("wakachi.core/1", "wakachi.seal/1", core["id"])
        self.k, self.quorum, self.id = core["erasure"]["data"], core["sharing"]["quorum"], bytes.fromhex(core["id"])
        self.bytes, self.floe_header = seal["ciphertext_bytes"], bytes.fromhex(seal["floe_header"])
        self.segments = -(-self.bytes // BLOCK)
        fit &= self.bytes == seal["plaintext_bytes"] + 32 * self.segments >= 32 and self.k and self.quorum in range(256)
        demand(fit, INTEGRITY, "damaged core or seal: their formats, ids or numbers do not fit each other")
        self.hashes = {("fragment", each["index"] + 1): each["share_sha256"] for each in seal["fragments"]}
        self.hashes |= {("share", each["index"]): each["share_sha256"] for each in seal["key_shares"]}
        layout = struct.pack("<IBB", seal["layout_epoch"], self.k, core["erasure"]["parity"])
        self.fragment_start = b"WKFRG\0\0\1" + self.id + self.core_hash + layout
        self.found = {"share": {}, "fragment": {}}
    def add(self, path):  # an opened share or a fragment
        header = (file := open(path, "rb")).read(128)
        if header.startswith(b"{"):
            found = json.loads(header + file.read(4096))
            fit = (found["format"], found["object"]) == ("wakachi.opened-share/1", self.id.hex())
            kind, letter, x, share = "share", b"c", found["index"], bytes.fromhex(found["share"])
        else:
            fit = header[96:] == hashlib.sha256(header[:96]).digest() and header.startswith(self.fragment_start)
            kind, letter, x, share = "fragment", b"s", header[62] + 1 if fit else 0, header[64:96]
        digest = hashlib.sha256(b"wakachi 2026 vault share" + self.id + letter + bytes([x]) + share).hexdigest()
        if not fit or digest != self.hashes.get((kind, x)):
            raise ValueError("no share or fragment, or damaged, or of another object, core or layout")
        if self.found[kind].setdefault(x, (share, file))[1] is not file:
            raise ValueError(f"this {kind} was given before")
    def secret(self, kind, needed):
        shares = {x: share for x, (share, _) in list(self.found[kind].items())[:needed]}
        demand(len(shares) == needed, QUORUM, f"too few {kind}s: {needed} needed, {len(shares)} can be used")
        return interpolate(SHARING, shares, 0, 32)

def floe(key, header, associated, segments):
    """FLOE (C2SP): a function that opens the segment at a position, or gives None."""
    start = struct.pack(">BBII", 0, 0, BLOCK, 32) + header[10:42]
    derive = lambda key, purpose, n: hmac.digest(key, start + purpose + associated + b"\1", "sha384")[:n]
    demand(header == start + derive(key, b"HEADER_TAG:", 32), INTEGRITY, "the key does not fit the seal's FLOE header")
    message_key = derive(key, b"MESSAGE_KEY:", 48)
    cipher = functools.cache(lambda turn: aead.AESGCM(derive(message_key, b"DEK:" + (turn << 20).to_bytes(8), 32)))
    def opened(position, segment):
        last = position == segments - 1
        if segment and segment[:4] == struct.pack(">I", len(segment) if last else 0xffff_ffff):
            with contextlib.suppress(cryptography.exceptions.InvalidTag):
                return cipher(position >> 20).decrypt(segment[4:16], segment[16:], struct.pack(">QB", position, last))
    return opened

def plaintext(obj, opened):
    """The segments in order. Data blocks that are missing or fail their tag are decoded from parity blocks; these have
    no tags, so choices of them are tried until all tags hold, those less often in vain first."""
    files, in_vain = {x - 1: file for x, (_, file) in obj.found["fragment"].items()}, collections.Counter()
    def block(index, size):
        with contextlib.suppress(KeyError, OSError):
            return os.pread(files[index].fileno(), size, 128 + row * BLOCK)
    for row, first in enumerate(range(0, obj.segments, obj.k)):
        sizes = [min(BLOCK, obj.bytes - at * BLOCK) for at in range(first, min(first + obj.k, obj.segments))]
        data = [block(c, size) for c, size in enumerate(sizes)] + [b""] * (obj.k - len(sizes))
        plain = [opened(first + c, data[c]) for c in range(len(sizes))]
        missing = [c for c, segment in enumerate(plain) if segment is None]
        order = sorted(files, key=lambda index: in_vain[index]) if missing else []
        parity = {p: found for p in order if p >= obj.k and (found := block(p, sizes[0]))}
        for choice in itertools.islice(itertools.combinations(parity, len(missing)), TRIES_MAX):
            known = {c: data[c] for c in range(obj.k) if c not in missing} | {p: parity[p] for p in choice}
            for c in missing:
                plain[c] = opened(first + c, interpolate(ERASURE, known, c, sizes[0], obj.k)[:sizes[c]])
            if None not in plain:
                break
            in_vain.update(choice)
        demand(None not in plain, INTEGRITY, f"row {row}: blocks of fragments {missing} are lost; give more fragments")
        for c in set(missing) & set(files):
            say(f"block {row} of fragment {c:02} is damaged; decoded from others")
        yield from plain

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, text in ("--core", "core.json"), ("--seal", "seal.json"), ("-o", "file to write; must not exist"):
        parser.add_argument(name, required=True, help=text)
    parser.add_argument("--share", nargs="+", action="extend", required=True, help="shares opened by custodians")
    parser.add_argument("fragment", nargs="*", help="fragments, which may also stand among the shares")
    args = parser.parse_args()
    say("checking hashes, commitments and FLOE tags, but NOT signatures")
    demand(not os.path.exists(args.o), INPUT, f"{args.o} is there already")
    try:
        obj = Object(*(open(path, "rb").readline(1 << 26).removesuffix(b"\n") for path in (args.core, args.seal)))
    except (OSError, ValueError, LookupError, TypeError, RecursionError, struct.error) as error:
        demand(False, INPUT, f"cannot use {args.core} and {args.seal}: {error!r}")
    for path in args.share + args.fragment:
        try:
            obj.add(path)
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            say(f"{path} is not used: {error}")
    secrets = obj.secret("share", obj.quorum) + obj.secret("fragment", obj.k)
    key = hmac.digest(hmac.digest(obj.core_hash, secrets, "sha256"), b"wakachi 2026 vault data key\1", "sha256")
    opened = floe(key, obj.floe_header, obj.core_hash, obj.segments)
    partial = args.o + ".partial"
    atexit.register(lambda: os.path.exists(partial) and os.unlink(partial))
    with open(partial, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
        out.writelines(plaintext(obj, opened))
        out.flush()
        os.fsync(out.fileno())
    os.rename(partial, args.o)
    say(f"restored {args.o}")

if __name__ == "__main__":
    main()
