"""A stand-in for an OpenAI-compatible server, as ill-behaved as the prompts ask. Standard library only.

Words in a prompt: `die` (the process ends), `refuse`, `long` (400 for the whole request), `fail` (500), `busy` (429
with Retry-After, once), `broken` (the body ends half-way, once), `hold` (waits for /open), `say X` (answers X), `cut X`
(X, cut by length), `half X` (X and half of a character of two parts).
Any other prompt is answered in capitals. A request is refused for the field that it names as `blamed`.
"""

from __future__ import annotations

import base64
import json
import os
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOLD_S = 60


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port):
        super().__init__(("127.0.0.1", port), Requests)
        self.opened, self.seen, self.done_once = threading.Event(), [], set()
        self.lock, self.in_flight, self.most_in_flight = threading.Lock(), 0, 0


class Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    rows = 0  # of the request that is answered
    disable_nagle_algorithm = True  # header and body are two writes: 40 ms apart otherwise

    def do_GET(self):
        if self.path == "/open":
            self.server.opened.set()
        self.send(200, {"seen": self.server.seen, "most": self.server.most_in_flight})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompts = body.get("prompt") or body.get("input") or body["messages"]
        if isinstance(prompts[0], dict):
            prompts = [prompts]
        texts = [text if isinstance(text, str) else self.words(text[-1]["content"]) for text in prompts]
        with self.server.lock:
            self.server.seen.append({"path": self.path, "rows": len(texts), "body": body, "key": self.key()})
            self.server.in_flight += len(texts)
            self.rows = len(texts)
            self.server.most_in_flight = max(self.server.most_in_flight, self.server.in_flight)
        try:
            self.answer(texts, body.get("blamed"))
        finally:
            self.leave()

    def leave(self):
        """Before the answer goes out: whoever gets it may ask the next thing at once."""
        with self.server.lock:
            self.server.in_flight -= self.rows
            self.rows = 0

    def words(self, content):
        return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)

    def key(self):
        return self.headers.get("Authorization", "")

    def answer(self, texts, blamed):
        whole = " ".join(texts)
        if "die" in whole:
            os._exit(9)
        elif blamed is not None:
            self.send(400, {"error": {"message": f"{blamed} must be otherwise: {whole}", "param": blamed}})
        elif "refuse" in whole:
            self.send(400, {"error": {"message": "this content is not served"}})
        elif "long" in whole:
            self.send(400, {"error": {"message": "This model's maximum context length is 8 tokens."}})
        elif "fail" in whole:
            self.send(500, {"error": {"message": "the engine tripped"}})
        elif "busy" in whole and self.first(whole):
            self.send(429, {"error": {"message": "too many requests"}}, {"Retry-After": "0"})
        elif "broken" in whole and self.first(whole):
            self.send(200, {"choices": "x" * 500}, {"Content-Length": "1000"})
            self.close_connection = True
        else:
            if "hold" in whole:
                self.server.opened.wait(HOLD_S)
            self.send(200, self.replies(texts))

    def first(self, text):
        with self.server.lock:
            new = text not in self.server.done_once
            self.server.done_once.add(text)
        return new

    def replies(self, texts):
        usage = {"prompt_tokens": sum(map(len, texts)), "completion_tokens": len(texts)}
        if self.path.endswith("/embeddings"):
            vectors = [base64.b64encode(struct.pack("<2f", len(text), 1)).decode() for text in texts]
            data = [{"index": i, "embedding": vector} for i, vector in enumerate(vectors)]
            return {"data": data[::-1], "usage": usage}
        choices = [self.choice(index, text) for index, text in enumerate(texts)]
        return {"choices": choices[::-1], "usage": usage}

    def choice(self, index, text):
        word, _, rest = text.partition(" ")
        answer = rest if word in ("say", "cut") else f"{rest}\ud83d" if word == "half" else text.upper()
        value = {"text": answer} if self.path == "/v1/completions" else {"message": {"content": answer}}
        return value | {"index": index, "finish_reason": "length" if word == "cut" else "stop"}

    def send(self, status, value, headers=None):
        body = json.dumps(value).encode()
        self.leave()
        self.send_response(status)
        for name, content in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, content)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


if __name__ == "__main__":
    Server(int(sys.argv[1])).serve_forever()
