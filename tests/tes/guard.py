"""An S3 store: moto, and a guard before it, as moto checks no signatures. A presigned URL is held against its own signature, as AWS does
(Signature Version 4, query parameters), and by its time; what does not fit is refused with 403. With --ignore-condition
it drops If-None-Match instead, as some stores do. With --hold the outcome of an attempt that answered how it will end is let
in only once another bundle has come: who waits for the outcome waits in vain.

    guard.py --bucket NAME --secret SECRET [--ignore-condition] [--hold]

GET /__moved says how many requests there were, and how many bytes came and went; GET /__held how many outcomes were held
until another bundle came, and how many in vain.
"""

import argparse
import hashlib
import hmac
import http.client
import json
import logging
import threading
import urllib.parse
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from moto.server import ThreadedMotoServer


def quoted(text, safe=""):
    return urllib.parse.quote(text, safe="-_.~" + safe)


def is_signed(method, target, host, secret):
    url = urllib.parse.urlsplit(target)
    query = urllib.parse.parse_qsl(url.query, keep_blank_values=True)
    given = dict(query)
    begun = datetime.strptime(given["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    if datetime.now(timezone.utc) > begun + timedelta(seconds=int(given["X-Amz-Expires"])):
        return False
    _, day, region, service, last = given["X-Amz-Credential"].rsplit("/", 4)
    pairs = sorted((quoted(k), quoted(v)) for k, v in query if k != "X-Amz-Signature")
    canonical = "\n".join(
        [
            method,
            quoted(urllib.parse.unquote(url.path), "/"),
            "&".join(f"{k}={v}" for k, v in pairs),
            f"host:{host}",
            "",
            "host",
            "UNSIGNED-PAYLOAD",
        ]
    )
    scope = f"{day}/{region}/{service}/{last}"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{given['X-Amz-Date']}\n{scope}\n{digest}"
    key = ("AWS4" + secret).encode()
    for part in (day, region, service, last):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    expected = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, given["X-Amz-Signature"])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def pass_on(self):
        args = self.server.args
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        host = self.headers.get("host", "")
        if self.path == "/__moved":
            return self.answer(200, [], json.dumps(self.server.moved).encode())
        if self.path == "/__held":
            return self.answer(200, [], json.dumps(self.server.held).encode())
        if "X-Amz-Signature" in self.path and not is_signed(self.command, self.path, host, args.secret):
            return self.answer(403, [], b"SignatureDoesNotMatch")
        if args.hold and self.command == "PUT":
            self.hold(urllib.parse.urlsplit(self.path).path)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("connection", "transfer-encoding")}
        if args.ignore_condition:
            headers = {k: v for k, v in headers.items() if k.lower() != "if-none-match"}
        behind = http.client.HTTPConnection(*self.server.behind, timeout=30)
        behind.request(self.command, self.path, body=body, headers=headers)
        response = behind.getresponse()
        content = response.read()
        with self.server.lock:
            moved = self.server.moved.setdefault(self.command, {"requests": 0, "up": 0, "down": 0})
            moved["requests"] += 1
            moved["up"] += len(body)
            moved["down"] += len(content)
        kept = [(k, v) for k, v in response.getheaders() if k.lower() not in ("connection", "transfer-encoding", "content-length")]
        length = response.getheader("content-length") if self.command == "HEAD" else str(len(content))
        self.answer(response.status, kept, content, length)

    def hold(self, name):
        server = self.server
        with server.came:
            if name.endswith("/bundle"):
                server.bundles += 1
                server.came.notify_all()
            elif name.endswith(".answer"):
                server.answered[name.removesuffix(".answer")] = server.bundles
            elif name in server.answered:
                before = server.answered.pop(name)
                came = server.came.wait_for(lambda: server.bundles > before, timeout=30)
                server.held["until" if came else "in_vain"] += 1

    def answer(self, status, headers, content, length=None):
        self.send_response(status)
        for key, value in headers:
            self.send_header(key, value)
        self.send_header("content-length", length or str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = pass_on


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--secret", required=True)
    parser.add_argument("--ignore-condition", action="store_true")
    parser.add_argument("--hold", action="store_true")
    args = parser.parse_args()
    logging.getLogger("werkzeug").disabled = True
    store = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    store.start()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.args, server.behind = args, store.get_host_and_port()
    server.moved, server.lock = {}, threading.Lock()
    server.came, server.bundles, server.answered, server.held = threading.Condition(), 0, {}, {"until": 0, "in_vain": 0}
    made = http.client.HTTPConnection(*server.behind, timeout=30)
    signed = {"authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request"}
    made.request("PUT", f"/{args.bucket}", headers=signed)
    assert made.getresponse().status == 200
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
