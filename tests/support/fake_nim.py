"""A stand-in for a NIM, inside a container image: NIM's paths and variables, as ill-behaved as asked.

    python fake_nim.py          the front end, which starts the engine below itself
    python fake_nim.py engine   the engine, on loopback

Words in a prompt: `die` ends the engine, and the front end answers 502 to what is in flight. Any other prompt is
answered in capitals; a JSON schema by its first property with "fine".
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT, ENGINE = 8000, 8001
NAME = os.environ.get("FAKE_SERVED_NAME") or os.environ.get("NIM_SERVED_MODEL_NAME", "meta/fake")
METRICS = """vllm:num_requests_running 0.0
vllm:num_requests_waiting 0.0
vllm:iteration_tokens_total_count {steps}.0
vllm:generation_tokens_total {steps}.0
"""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


class Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def send(self, status, body, kind="application/json"):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def content(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))


class Engine(Requests):
    steps = 0

    def do_GET(self):
        pages = {
            "/health": b"",
            "/v1/models": json.dumps({"data": [{"id": NAME, "max_model_len": 64}]}).encode(),
            "/metrics": METRICS.format(steps=Engine.steps).encode(),
        }
        self.send(200, pages[self.path]) if self.path in pages else self.send(404, {})

    def do_POST(self):
        body = json.loads(self.content())
        if body.get("model") != NAME:
            return self.send(404, {"error": {"message": f"the model {body.get('model')!r} does not exist"}})
        prompts = body.get("prompt") or [body["messages"][-1]["content"]]
        prompts = prompts if isinstance(prompts, list) else [prompts]
        if any("die" in prompt for prompt in prompts):
            os._exit(9)
        Engine.steps += 1
        schema = (body.get("structured_outputs") or body.get("nvext") or {}).values()
        texts = [self.text(prompt, next(iter(schema), None)) for prompt in prompts]
        key = "text" if "prompt" in body else "message"
        choices = [
            {"index": at, key: text if key == "text" else {"content": text}, "finish_reason": "stop"}
            for at, text in enumerate(texts)
        ]
        return self.send(200, {"choices": choices, "usage": {"prompt_tokens": 1, "completion_tokens": 1}})

    def text(self, prompt, schema):
        if schema:
            return json.dumps({next(iter(schema["properties"])): "fine"})
        variables = {name: value for name, value in os.environ.items() if name.startswith("NIM_")}
        return json.dumps(variables, sort_keys=True) if prompt == "variables" else prompt.upper()


class FrontEnd(Requests):
    def pass_on(self):
        if self.path == "/v1/health/live":
            return self.send(200, {"status": "live"})
        path = {"/v1/health/ready": "/health", "/v1/metrics": "/metrics"}.get(self.path, self.path)
        connection = http.client.HTTPConnection("127.0.0.1", ENGINE, timeout=600)
        try:
            connection.request(self.command, path, self.content(), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return self.send(answer.status, answer.read())
        except (OSError, http.client.HTTPException):
            return self.send(502 if self.command == "POST" else 503, {"error": "Bad Gateway"})
        finally:
            connection.close()

    do_GET = do_POST = pass_on


def say(*words):
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


def main():
    if sys.argv[1:] == ["engine"]:
        Server(("127.0.0.1", ENGINE), Engine).serve_forever()
    say(f"nim starts as {os.getuid()}", "with a key" if os.environ.get("NGC_API_KEY") else "without a key")
    Path("/opt/nim/.cache/started").touch()  # fails where the cache is another user's
    engine = subprocess.Popen([sys.executable, __file__, "engine"])
    threading.Thread(target=Server(("", PORT), FrontEnd).serve_forever, daemon=True).start()

    def stop(*_):
        engine.terminate()
        say("stopped nicely")
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    sys.exit(engine.wait() and 1)


if __name__ == "__main__":
    main()
