"""A Task Execution Service for tests: runs tasks as processes of this machine, on loopback only, and can do to them what
clouds do: preempt, fail, run out of memory, lose an answer, lie, fall silent (outage: no task is made, and nothing is
answered for some requests), fall asleep in the middle of a task (nap) until somebody asks for /__wake, and then, once the worker
answered how an attempt of it will end, begin the task anew on another machine (relapse). Every request and every answer is held against the
published OpenAPI by openapi-core; what does not fit is kept and told at /__violations.

    server.py --port 0 --spec task_execution_service.openapi.yaml --wakachi PROGRAM --root DIR [--faults preempt,oom,...]

Faults are dealt out to tasks in the order in which they are created; later tasks are run as they should be.
"""

import argparse
import ctypes
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.parse
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import yaml
from openapi_core import Config, OpenAPI
from openapi_core.testing import MockRequest, MockResponse

# Requests that an outage takes.
SILENT = 12
OVER = {"COMPLETE", "EXECUTOR_ERROR", "SYSTEM_ERROR", "CANCELED", "PREEMPTED"}
PREFIX = "/ga4gh/tes/v1"

# GA4GH service-info 1.0.0, which the published document names by a URL.
SERVICE = {
    "ServiceType": {
        "type": "object",
        "required": ["group", "artifact", "version"],
        "properties": {k: {"type": "string"} for k in ("group", "artifact", "version")},
    },
    "Service": {
        "type": "object",
        "required": ["id", "name", "type", "organization", "version"],
        "properties": {
            "id": {"type": "string"},
            "name": {"type": "string"},
            "type": {"$ref": "#/components/schemas/ServiceType"},
            "organization": {
                "type": "object",
                "required": ["name", "url"],
                "properties": {"name": {"type": "string"}, "url": {"type": "string", "format": "uri"}},
            },
            "version": {"type": "string"},
        },
    },
}


def spec_of(path):
    """The published document, with what it names by URL put in its place."""
    text = pathlib.Path(path).read_text()
    base = "https://raw.githubusercontent.com/ga4gh-discovery/ga4gh-service-info/v1.0.0/service-info.yaml#"
    spec = yaml.safe_load(text.replace(base, "#"))
    spec["components"]["schemas"].update(SERVICE)
    spec["servers"] = [{"url": PREFIX}]
    # A state that is asked for in a query is neither read-only nor there by default.
    states = spec["components"]["schemas"]["tesState"]["enum"]
    for parameter in spec["paths"]["/tasks"]["get"]["parameters"]:
        if parameter.get("name") == "state":
            parameter["schema"] = {"type": "string", "enum": states}
    # Status codes stand in it as numbers; as JSON they are the names they should be.
    return json.loads(json.dumps(spec, default=str))


def now():
    return datetime.now(timezone.utc).isoformat()


class Service:
    def __init__(self, args):
        self.args = args
        self.lock = threading.Lock()
        self.tasks = {}
        self.faults = [f for f in args.faults.split(",") if f]
        self.violations = []
        self.created = 0
        # Requests that meet no answer.
        self.silent = 0
        self.naps = []
        # The document itself has small faults (an example that is no string), which are not what is tested here.
        self.openapi = OpenAPI.from_dict(spec_of(args.spec), config=Config(spec_validator_cls=None))

    def check(self, method, target, body, status, answer):
        """Holds one exchange against the published interface."""
        url = urllib.parse.urlsplit(target)
        query = urllib.parse.parse_qsl(url.query)
        args = {}
        for key, value in query:
            args.setdefault(key, []).append(value)
        args = {k: v if k.startswith("tag_") else v[0] for k, v in args.items()}
        request = MockRequest(
            "http://127.0.0.1",
            method.lower(),
            url.path,
            args=args,
            data=body or None,
            headers={"Authorization": "Bearer x"},
            content_type="application/json",
        )
        response = MockResponse(json.dumps(answer).encode(), status_code=status, content_type="application/json")
        try:
            self.openapi.validate_request(request)
            if status == 200:
                self.openapi.validate_response(request, response)
        except Exception as error:  # whatever the validator says is a violation
            cause = error.__cause__ or error
            more = [str(e) for e in getattr(cause, "schema_errors", [])]
            self.violations.append(f"{method} {target}: {type(error).__name__}: {cause} {more}")

    # The interface.

    def info(self):
        return {
            "id": "org.example.tes",
            "name": "tests",
            "type": {"group": "org.ga4gh", "artifact": "tes", "version": "1.1.0"},
            "organization": {"name": "tests", "url": "https://example.org"},
            "version": "1",
            "storage": [],
            "tesResources_backend_parameters": ["VmSize"],
        }

    def create(self, document):
        with self.lock:
            if self.faults[:1] == ["outage"]:
                self.faults.pop(0)
                self.silent = SILENT
                return None, "outage"
            number = self.created
            self.created += 1
            task = dict(document, id=f"task-{number}", state="QUEUED", creation_time=now())
            task["logs"] = [{"logs": [], "outputs": [], "system_logs": []}]
            fault = self.faults.pop(0) if self.faults else ""
            self.tasks[task["id"]] = {"task": task, "process": None, "fault": fault}
        threading.Thread(target=self.run, args=(task["id"],), daemon=True).start()
        return {"id": task["id"]}, fault

    def view(self, task, view):
        if view == "MINIMAL":
            return {"id": task["id"], "state": task["state"], "executors": task["executors"]}
        if view == "BASIC":
            shown = json.loads(json.dumps(task))
            for one in shown.get("inputs", []):
                one.pop("content", None)
            for log in shown["logs"]:
                log.pop("system_logs", None)
                for executor in log["logs"]:
                    executor.pop("stdout", None)
                    executor.pop("stderr", None)
            return shown
        return task

    def listed(self, query):
        wanted = dict(zip(query.get("tag_key", []), query.get("tag_value", [])))
        def matches(task):
            tags = task.get("tags", {})
            return all(k in tags and v in ("", tags[k]) for k, v in wanted.items())
        with self.lock:
            found = [held["task"] for held in self.tasks.values() if matches(held["task"])]
        start = int(query.get("page_token", ["0"])[0])
        # Two a page, so that clients have to turn pages.
        page = found[start : start + 2]
        answer = {"tasks": [self.view(task, query.get("view", ["MINIMAL"])[0]) for task in page]}
        if start + 2 < len(found):
            answer["next_page_token"] = str(start + 2)
        return answer

    def cancel(self, held):
        with self.lock:
            if held["task"]["state"] not in OVER:
                held["task"]["state"] = "CANCELED"
        self.kill(held)
        return {}

    # Running tasks.

    def kill(self, held):
        process = held["process"]
        if process and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)

    def end(self, held, state, code=None, stderr="", system=""):
        with self.lock:
            task = held["task"]
            if task["state"] in OVER:
                return
            log = task["logs"][0]
            if code is not None:
                log["logs"].append({"exit_code": code, "stderr": stderr[-4000:], "start_time": now(), "end_time": now()})
            if system:
                log["system_logs"].append(system)
            task["state"] = state

    def run(self, name):
        held = self.tasks[name]
        task, fault = held["task"], held["fault"]
        sandbox = pathlib.Path(self.args.root) / name
        (sandbox / "wakachi").mkdir(parents=True)
        (sandbox / "tmp").mkdir()
        if fault == "system_error":
            return self.end(held, "SYSTEM_ERROR", system="no machine of this kind is left")
        if fault == "lie":
            self.lie(task)
            return self.end(held, "COMPLETE", code=0)
        for one in task.get("inputs", []):
            path = sandbox / one["path"].lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            if one.get("content"):
                path.write_text(one["content"])
            else:
                shutil.copyfile(one["url"].removeprefix("file://"), path)
        executor = task["executors"][0]

        def here(word):
            if word == "wakachi":
                return self.args.wakachi
            # Where the container's folders are for it; also within the words of a shell.
            return re.sub(r"(^|\s)/(wakachi|tmp)/", lambda found: f"{found[1]}{sandbox}/{found[2]}/", word)

        command = [here(word) for word in executor["command"]]
        env = {"PATH": "/usr/bin:/bin", "TMPDIR": str(sandbox / "tmp"), **executor.get("env", {})}
        with self.lock:
            if task["state"] in OVER:
                return
            task["state"] = "INITIALIZING"
        def start():
            with open(sandbox / "stderr", "ab") as stderr:
                held["process"] = subprocess.Popen(
                    command,
                    env=env,
                    stderr=stderr,
                    stdout=stderr,
                    start_new_session=True,
                    cwd=sandbox,
                    # Whatever becomes of the service, its tasks end with it.
                    preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL),
                )
            return held["process"]

        process = start()
        with self.lock:
            if task["state"] not in OVER:
                task["state"] = "RUNNING"
        if fault == "hang":
            # As if it had work for days.
            process.send_signal(signal.SIGSTOP)
        if fault in ("nap", "relapse"):
            # Once it has fetched what its first task reads.
            while process.poll() is None and not any((sandbox / "tmp").glob("wakachi-*/packs/in-*")):
                time.sleep(0.001)
            process.send_signal(signal.SIGSTOP)
            self.naps.append(process)
        if fault == "relapse":
            while process.poll() is None and not any(name.endswith(".answer") for name in self.objects(task, "out")):
                time.sleep(0.01)
            if process.poll() is None:
                self.kill(held)
                process.wait()
                process = start()
        if fault in ("preempt", "oom"):
            # Not at once: something is to be in flight, and perhaps something sent.
            deadline = time.time() + float(self.args.fault_after)
            while process.poll() is None and time.time() < deadline:
                time.sleep(0.02)
            self.kill(held)
        code = process.wait()
        said = (sandbox / "stderr").read_text(errors="replace")
        if fault == "preempt":
            return self.end(held, "PREEMPTED", system="the machine was reclaimed")
        if fault == "oom" or code == -signal.SIGKILL:
            return self.end(held, "EXECUTOR_ERROR", code=137, stderr=said)
        self.end(held, "COMPLETE" if code == 0 else "EXECUTOR_ERROR", code=code, stderr=said)

    def lie(self, task):
        """Says that it did the work, and sends noise: what a broken or a hostile machine may do to a store it can reach."""
        for name in self.objects(task, "in"):
            self.s3().put_object(Bucket=self.args.bucket, Key=name.replace("/in/", "/out/"), Body=os.urandom(5000))

    def objects(self, task, folder):
        """What the store holds of a task's bundle."""
        prefix = f"{self.args.prefix}/bundles/{task['tags']['wakachi.bundle']}/{folder}/"
        listed = self.s3().list_objects_v2(Bucket=self.args.bucket, Prefix=prefix)
        return [one["Key"] for one in listed.get("Contents", [])]

    def s3(self):
        return boto3.client("s3", endpoint_url=self.args.s3, region_name="us-east-1")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def reply(self, status, answer):
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_one(self, method):
        service = self.server.service
        url = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(url.query)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = urllib.parse.unquote(url.path)
        if path == "/__violations":
            return self.reply(200, service.violations)
        if path == "/__wake":
            naps, service.naps = service.naps, []
            for process in naps:
                process.send_signal(signal.SIGCONT)
            return self.reply(200, len(naps))
        if path == "/__naps":
            return self.reply(200, len(service.naps))
        if path == "/__tasks":
            with service.lock:
                return self.reply(200, [held["task"] for held in service.tasks.values()])
        if service.args.token and self.headers.get("authorization") != f"Bearer {service.args.token}":
            return self.reply(401, {"message": "no"})
        if service.silent > 0:
            service.silent -= 1
            return self.reply(503, {"message": "away"})
        status, answer, fault = 404, {"message": "not found"}, ""
        if path.startswith(PREFIX):
            rest = path.removeprefix(PREFIX)
            name = rest.removeprefix("/tasks/")
            if (method, rest) == ("GET", "/service-info"):
                status, answer = 200, service.info()
            elif (method, rest) == ("GET", "/tasks"):
                status, answer = 200, service.listed(query)
            elif (method, rest) == ("POST", "/tasks"):
                status = 200
                answer, fault = service.create(json.loads(body))
            elif method == "GET" and name in service.tasks:
                view = query.get("view", ["MINIMAL"])[0]
                with service.lock:
                    answer = json.loads(json.dumps(service.view(service.tasks[name]["task"], view)))
                status = 200
            elif method == "POST" and name.endswith(":cancel") and name.removesuffix(":cancel") in service.tasks:
                status, answer = 200, service.cancel(service.tasks[name.removesuffix(":cancel")])
        if fault == "outage":
            return self.reply(503, {"message": "away"})
        service.check(method, self.path, body, status, answer)
        if fault == "lost_answer":
            return self.reply(500, {"message": "the answer was lost; the task was not"})
        self.reply(status, answer)

    def do_GET(self):
        self.handle_one("GET")

    def do_POST(self):
        self.handle_one("POST")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--spec", required=True)
    parser.add_argument("--wakachi", required=True)
    parser.add_argument("--root", required=True)
    parser.add_argument("--faults", default="")
    parser.add_argument("--fault-after", default="1.0")
    parser.add_argument("--token", default="")
    parser.add_argument("--s3", default="")
    parser.add_argument("--bucket", default="")
    parser.add_argument("--prefix", default="")
    args = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", args.port), Handler)
    server.daemon_threads = True
    server.service = Service(args)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
