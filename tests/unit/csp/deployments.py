"""What tests of deployments share: a deployment, a report that is read, and time that a test moves."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from csp.cloud import Deployment
from csp.cloud_session import Session
from csp.deployer import init_script
from server_utils.clusters.cluster import cluster
from server_utils.host.deadline import Clock

WHEEL = "spark_sidecar-0.1.0-py3-none-any.whl"


@dataclass
class Recorder:
    """A report. on_wait: called with each state of a wait, so that a test does something in the middle of it."""

    messages: list = field(default_factory=list)
    waits: list = field(default_factory=list)
    printed: str = ""
    on_wait: object = None

    def say(self, text):
        self.messages.append(text)

    def wait(self, text):
        self.waits.append(text)
        if self.on_wait:
            self.on_wait(text)

    def output(self, text):
        self.printed += text


def bundle(folder: Path, content: str = "a wheel") -> Path:
    """A bundle of one wheel, as small as it can be."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WHEEL).write_text(content)
    (folder / "SHA256SUMS").write_text(f"{hashlib.sha256(content.encode()).hexdigest()}  {WHEEL}\n")
    return folder


def deployment(
    folder: Path, platform: str, *shapes: str, name: str = "reviews", workers: int = 2, **given
) -> Deployment:
    """What a user asks for: vLLM on the first of these shapes that can be had."""
    clusters = tuple(cluster(platform, shape, "vllm", workers=workers) for shape in shapes or ("a10x1",))
    return Deployment(name, clusters, bundle(folder / "bundle"), init_script("databricks"), **given)


def new_session(cloud, clock=None, **given) -> Session:
    """A session with a report to read, in time that a pause moves."""
    if clock is None:
        now = [0.0]

        def pause(seconds):
            now[0] += seconds

        return Session(cloud, Recorder(), clock=Clock(lambda: now[0], pause), **given)
    return Session(cloud, Recorder(), clock=Clock(clock.time, clock.sleep), **given)
