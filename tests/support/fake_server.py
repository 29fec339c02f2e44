"""A stand-in for an inference server: standard library only, and as well- or ill-behaved as its arguments ask.

Tests talk to it over HTTP: /health, /process (its id), /environ, and /do/NAME for the misdeeds that wait for a sign.
The only place in the tests that sleeps.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_BEAT_S = 0.2


class Answers(BaseHTTPRequestHandler):
    """Answers of one request; what it may do besides is in `do_GET`."""

    hanging = threading.Event()
    beating = threading.Event()

    def do_GET(self):
        if self.path == "/health" and self.hanging.is_set():
            time.sleep(3600)
        elif self.path == "/do/exit":
            os._exit(7)
        elif self.path == "/do/hang":
            self.hanging.set()
        elif self.path == "/do/stop-listening":
            threading.Thread(target=self.server.shutdown).start()
        elif self.path == "/do/stop-heartbeat":
            self.beating.clear()
        self.answer({"/environ": dict(os.environ), "/process": os.getpid()}.get(self.path, "fine"))

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing: what is in the log is a test's own doing."""


def send_heartbeats(path: Path):
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps({"models": {"fake": {"inputs": ["x"]}}}))
    beside.replace(path)
    Answers.beating.set()
    while Answers.beating.wait():
        path.touch()
        time.sleep(_BEAT_S)


def daemonise():
    """Leave a grandchild that belongs to another session, another parent, and does not listen to SIGTERM."""
    if between := os.fork():
        os.waitpid(between, 0)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(3600)


def arguments():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--readiness-file", type=Path)
    parser.add_argument("--crash", help="raise a RuntimeError of these words at once")
    parser.add_argument("--crash-after", type=float, help="seconds of service until the exit")
    parser.add_argument("--exit-code", type=int, default=1)
    parser.add_argument("--bad-starts", type=int, default=0, help="this many starts that end with --exit-code")
    parser.add_argument("--never-ready", action="store_true")
    parser.add_argument("--wait-for", type=Path, help="a file that must be there before the port is bound")
    parser.add_argument("--ignore-sigterm", action="store_true")
    parser.add_argument("--daemon", action="store_true", help="leave a stubborn grandchild")
    parser.add_argument("--short-daemons", type=int, default=0, help="this many orphans that end at once")
    parser.add_argument("--print-lines", type=int, default=0)
    return parser.parse_args()


def prepare(asked):
    for line in range(asked.print_lines):
        sys.stdout.write(f"line {line} {'.' * 90}\n")
    if asked.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if asked.daemon:
        daemonise()
    for _ in range(asked.short_daemons):
        if (child := os.fork()) == 0:
            os._exit(os.fork() and 0)
        os.waitpid(child, 0)
    with Path("starts").open("a+") as starts:  # in the folder of the server
        starts.write(".")
        if starts.tell() <= asked.bad_starts:
            sys.exit(asked.exit_code)
    if asked.crash:
        raise RuntimeError(asked.crash)
    while asked.never_ready or (asked.wait_for and not asked.wait_for.exists()):
        time.sleep(0.02)


def main():
    asked = arguments()
    prepare(asked)
    server = ThreadingHTTPServer(("127.0.0.1", asked.port), Answers)
    if asked.readiness_file:
        threading.Thread(target=send_heartbeats, args=[asked.readiness_file], daemon=True).start()
    if asked.crash_after is not None:
        threading.Timer(asked.crash_after, os._exit, [asked.exit_code]).start()
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    server.serve_forever()
    server.server_close()
    while True:  # it was told to stop listening
        time.sleep(3600)


if __name__ == "__main__":
    sys.exit(main())
