"""A manager of language models whose servers are `fake_openai`: they answer what a prompt says after `say`."""

from __future__ import annotations

from pathlib import Path

from server_utils import VLLMServerManager
from server_utils.servers.launch import Launch

_PROGRAM = Path(__file__).parents[2] / "support" / "fake_openai.py"
_FIELDS = ["logit_bias", "max_tokens", "stop", "structured_outputs", "temperature", "vllm_xargs"]


class FakeLLMManager(VLLMServerManager):
    def __init__(self, spark):
        super().__init__("fake", spark=spark)
        self.environment = "triton"  # any Python will do

    def start(self):
        files = {"program.py": _PROGRAM.read_bytes()}
        self._start(key="fake", files=files, timeout_s=120, options={})

    @property
    def models(self):
        paths = ("/v1/completions", "/v1/chat/completions", "/v1/chat/completions/batch")
        return {"fake": {"version": "0.32.0", "device": "gpu", "fields": dict.fromkeys(paths, _FIELDS)}}

    def _launch(self, **fields):
        argv = ("{python}", "{folder}/program.py", "{port:http}")
        return Launch(argv=argv, ports=("http",), health="/health", **fields)
