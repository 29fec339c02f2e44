"""A stand-in for SGLang's `launch_server`: its options, paths, requests and errors, as its release 0.5.23 has them.

It is laid as the module `sglang.launch_server`. Words in a prompt: `die` ends the server, `long` is longer than the
context. Any other prompt is answered in capitals; a JSON schema by its first property with "fine". Started with
--is-embedding, it answers a text with a vector: its length, and 1.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import struct
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

METRICS = """sglang:num_running_reqs{{engine_type="unified",model_name="{model}",tp_rank="0"}} 0.0
sglang:num_queue_reqs{{engine_type="unified",model_name="{model}",tp_rank="0"}} 0.0
sglang:token_usage{{engine_type="unified",model_name="{model}",tp_rank="0"}} 0.0
sglang:realtime_tokens_total{{mode="prefill_compute",model_name="{model}",tp_rank="0"}} {rows}.0
sglang:realtime_tokens_total{{mode="decode",model_name="{model}",tp_rank="0"}} {rows}.0
sglang:prompt_tokens_total{{is_streaming="false",model_name="{model}"}} {rows}.0
sglang:generation_tokens_total{{is_streaming="false",model_name="{model}"}} {rows}.0
"""
FIELDS = ("max_tokens", "model", "prompt", "regex", "response_format", "return_token_ids", "temperature")
VECTOR_FIELDS = ("encoding_format", "input", "model")


def described(names):
    """A path as OpenAPI describes it."""
    schema = {"schema": {"properties": {name: {} for name in names}}}
    return {"post": {"requestBody": {"content": {"application/json": schema}}}}


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    rows = 0


class Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def send(self, status, body):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def refuse(self, message):
        self.send(400, {"object": "error", "message": message, "type": "BadRequestError", "param": None, "code": 400})

    def do_GET(self):
        options = self.server.options
        paths = dict.fromkeys(("/v1/completions", "/v1/chat/completions"), FIELDS) | {"/v1/embeddings": VECTOR_FIELDS}
        pages = {
            "/health": b"",
            "/v1/models": {"data": [{"id": options.served_model_name, "max_model_len": options.context_length}]},
            "/openapi.json": {"paths": {path: described(names) for path, names in paths.items()}},
            "/metrics": METRICS.format(model=options.served_model_name, rows=self.server.rows).encode(),
        }
        self.send(200, pages[self.path]) if self.path in pages else self.send(404, {"detail": "Not Found"})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if (self.path == "/v1/embeddings") != self.server.options.is_embedding:
            return self.refuse("This model does not appear to be for this path.")
        if self.path == "/v1/embeddings":
            return self.send(200, {"data": [self.vector(*each, body) for each in enumerate(body["input"])]})
        prompts = body.get("prompt") or [body["messages"][-1]["content"]]
        prompts = prompts if isinstance(prompts, list) else [prompts]
        if any("die" in prompt for prompt in prompts):
            os._exit(137)
        if any("long" in prompt for prompt in prompts):
            length = self.server.options.context_length
            return self.refuse(
                f"The input ({length + 9} tokens) is longer than the model's context length ({length} tokens)."
            )
        self.server.rows += len(prompts)
        choices = [self.choice(index, prompt, body) for index, prompt in enumerate(prompts)]
        usage = {"prompt_tokens": len(prompts) * 3, "completion_tokens": len(prompts) * 2}
        return self.send(200, {"choices": choices, "usage": usage})

    def vector(self, index, text, body):
        self.server.rows += 1
        assert body["encoding_format"] == "base64"
        content = base64.b64encode(struct.pack("<2f", len(text), 1)).decode()
        return {"object": "embedding", "index": index, "embedding": content}

    def choice(self, index, prompt, body):
        form = body.get("response_format")
        text = json.dumps({next(iter(form["json_schema"]["schema"]["properties"])): "fine"}) if form else prompt.upper()
        value = {"text": text} if "prompt" in body else {"message": {"role": "assistant", "content": text}}
        tokens = {"prompt_token_ids": [1, 2, 3], "token_ids": [4, 5]} if body.get("return_token_ids") else {}
        return value | tokens | {"index": index, "finish_reason": "stop", "matched_stop": None}


def main():
    parser = argparse.ArgumentParser()
    for option in ("--model-path", "--host", "--served-model-name"):
        parser.add_argument(option, required=True)
    for option in ("--port", "--context-length", "--tensor-parallel-size"):
        parser.add_argument(option, type=int)
    parser.add_argument("--enable-metrics", action="store_true", required=True)
    parser.add_argument("--is-embedding", action="store_true")
    options = parser.parse_args()
    server = Server((options.host, options.port), Requests)
    server.options = options
    server.serve_forever()


if __name__ == "__main__":
    main()
