"""How a vLLM server is run: its command line, its environment and its program. Driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from server_utils.backends.vllm import command_line as vllm_command_line
from server_utils.servers.launch import Launch, literal
from server_utils.storage.urls import is_elsewhere

STALL_S = 300.0
STOP_S = 5.0
PROGRAM = Path(__file__).with_name("program.py")


@dataclass(frozen=True)
class Engine:
    """What a user asks of an engine, checked; equal for two that are run alike.

    Attributes:
        words: the command line, but for what only the executor knows, which is filled in there.
        stall_s: seconds without a step, while requests wait, after which it counts as hung.
        env: variables of its process; they win over ours.
        require_key: whether each launch has a key that requests need.
    """

    words: tuple[str, ...]
    stall_s: float = STALL_S
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    require_key: bool = False

    def launch(self, key: str | None, *, model: str, **fields: Any) -> Launch:
        """What to run. key: what requests must have, None for none. fields: the rest of the launch."""
        local = Path(model).exists() or is_elsewhere(model)
        env = {
            "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "120",  # the engine closes idle connections after 5 s
            "VLLM_NO_USAGE_STATS": "1",
            **dict.fromkeys(("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"), "lo"),  # else that of the host's name
            "HF_HUB_OFFLINE": "1" if local else "0",
        }
        own = {variable: literal(str(value)) for variable, value in self.env.items()}
        program = ("{python}", "{folder}/program.py", "{folder}/announcement", "{port:http}", f"{self.stall_s:g}")
        return Launch(
            argv=(*program, *self.words),
            ports=("http",),
            health="/health",
            env=env | ({"VLLM_API_KEY": key} if key else {}) | own,
            model=model,
            announces=True,
            **fields,
        )


def command_line(
    name: str, options: Mapping[str, Any], *, environment: str = "vllm", stop_grace_s: float = STOP_S
) -> tuple[str, ...]:
    """The command line of an engine of a sealed environment, which serves its model by this name.

    Raises ConfigurationError for an option that the engine does not have, or that is ours.
    """
    known = vllm_command_line.known(environment)
    said = [literal(word) for word in vllm_command_line.arguments(options, known)]
    ours: dict[str, str] = {
        "--model": "{model}",
        "--served-model-name": literal(name),
        "--host": "127.0.0.1",
        "--port": "{port:http}",
    }
    defaults = {"--tensor-parallel-size": "{gpus}", "--disable-uvicorn-access-log": None}
    # A stop with requests in flight hangs without a limit (0.24 to 0.32).
    defaults["--shutdown-timeout"] = str(max(int(stop_grace_s) - 1, 1))
    for option, value in defaults.items():
        if option not in said and (known is None or option in known):
            said += [option, value] if value else [option]
    return (*(word for pair in ours.items() for word in pair), *said)
