"""A node that is made ready for NIM: stand-in commands note how they are called, and what they read."""

from __future__ import annotations

import os
import pwd
import shutil

import pytest

from server_utils.node import container_checks, nim
from server_utils.node.checks import check_node
from server_utils.node.node import Node, StepError

IMAGE = "nvcr.io/nim/meta/llama-3.1-8b-instruct:1.8.4"
KEY = "nvapi-of-this-test"
NONE_THERE = "exit 1"
DOCKER = """
case "$1" in
  version) echo 28.1.0 ;;
  info) echo "{RUNTIMES}" ;;
  image) [[ -e "$0.pulled" ]] && echo '[{"Config": {}}]' || { echo "Error: No such image: $3" >&2; exit 1; } ;;
  login) cat >> "$0.login" ;;
  pull) touch "$0.pulled" ;;
esac
"""
SPARK = pwd.getpwuid(os.getuid() + 1).pw_name  # another user than this one


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A PATH with stand-ins only: host("docker", body). Their calls are in host.calls()."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("bash", "sh", "cat", "touch"):
        (folder / tool).symlink_to(shutil.which(tool))
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("NIM_IMAGE", raising=False)
    monkeypatch.setattr(container_checks, "_EXECUTORS", SPARK)

    class Host:
        def __call__(self, name, body="exit 0"):
            tool = folder / name
            tool.write_text(f'#!/bin/bash\necho "{name} $*" >> "{tmp_path}/calls"\n{body}\n')
            tool.chmod(0o755)

        def calls(self):
            noted = tmp_path / "calls"
            return noted.read_text().splitlines() if noted.exists() else []

        def docker(self, runtimes="runc nvidia"):
            self("docker", DOCKER.replace("{RUNTIMES}", runtimes))

    return Host()


@pytest.fixture
def node(tmp_path):
    (tmp_path / "log").mkdir()
    return Node("nim", tmp_path, tmp_path, "")


def gpu(host, driver="580.95.05"):
    host("nvidia-smi", f"[[ $1 == topo ]] || echo '0, NVIDIA L4, 23034, {driver}, 8.9'")


def found(name, **options):
    return next(each for each in check_node("nim", **options) if each.name == name)


def test_the_image_is_pulled_with_a_key_that_no_command_line_and_no_log_shows(host, node, monkeypatch, tmp_path):
    host.docker()
    host("gcloud", f"echo {KEY}")
    host("usermod")
    host("systemctl")
    monkeypatch.setenv("NIM_IMAGE", IMAGE)
    monkeypatch.setenv("NGC_SECRET_NAME", "ngc")

    nim.prepare(node)
    nim.prepare(node)

    assert "gcloud secrets versions access latest --secret=ngc" in host.calls()
    assert "docker login nvcr.io --username $oauthtoken --password-stdin" in host.calls()
    assert (tmp_path / "bin/docker.login").read_text() == KEY
    assert host.calls().count(f"docker pull {IMAGE}") == 1
    assert KEY not in "\n".join(host.calls()) + node.log.read_text()


def test_the_user_of_executors_gets_the_group_of_dockers_socket_and_yarn_starts_again(host, node):
    host.docker()
    host("usermod")
    host("systemctl")

    nim.prepare(node)

    assert [each for each in host.calls() if "docker" not in each.split()[0]] == [
        f"usermod --append --groups docker {SPARK}",
        "systemctl try-restart hadoop-yarn-nodemanager",
    ]
    assert "no NIM_IMAGE is set: the first start of a server pulls its image" in node.log.read_text()


def test_a_toolkit_that_is_missing_is_installed_and_docker_told_of_it(host, node):
    host.docker(runtimes="runc")
    gpu(host)
    for name in ("apt-get", "apt-cache", "usermod", "systemctl"):
        host(name)
    host(
        "apt-get",
        f'[[ $1 == install ]] && printf "#!/bin/bash\\necho nvidia-ctk \\$* >> {node.home}/calls\\n" > '
        f"{node.home}/bin/nvidia-ctk && chmod 755 {node.home}/bin/nvidia-ctk; exit 0",
    )
    (node.home / "bin/chmod").symlink_to("/bin/chmod")

    nim.prepare(node)

    calls = host.calls()
    install = calls.index("apt-get install --quiet --yes --no-install-recommends nvidia-container-toolkit")
    configure = calls.index("nvidia-ctk runtime configure --runtime=docker")
    assert install < configure < calls.index("systemctl restart docker")


@pytest.mark.parametrize(
    ("lacks", "said"),
    [
        ("docker", r"this host has no docker or podman .*on Dataproc that is the optional component DOCKER"),
        ("toolkit", "no package source of its image offers it: install it by an initialization action before ours"),
        ("secret", "the secret ngc cannot be read: PERMISSION_DENIED. See that NGC_SECRET_NAME names a secret"),
        ("rights", r"cannot pull image .*: docker says: unauthorized. The registry wants a login: give the key"),
    ],
)  # fmt: skip
def test_what_a_node_lacks_is_the_reason_of_its_failure(host, node, monkeypatch, lacks, said):
    for name in ("usermod", "systemctl", "apt-get"):
        host(name)
    monkeypatch.setenv("NIM_IMAGE", IMAGE)
    if lacks == "secret":
        monkeypatch.setenv("NGC_SECRET_NAME", "ngc")
        host("gcloud", "echo PERMISSION_DENIED >&2; exit 1")
    if lacks != "docker":
        host.docker(runtimes="runc")
    if lacks == "toolkit":
        gpu(host)
        host("apt-cache", NONE_THERE)
    if lacks == "rights":
        host("docker", DOCKER.replace("pull)", "pull) echo unauthorized >&2; exit 1 ;;\n  x)"))

    with pytest.raises(StepError, match=said):
        nim.prepare(node)


def test_podman_gets_a_list_of_devices_and_no_group(host, node, monkeypatch):
    host("podman")
    host("nvidia-ctk")
    gpu(host)
    monkeypatch.setenv("NIM_IMAGE", IMAGE)

    nim.prepare(node)

    assert [each for each in host.calls() if "generate" in each] == [
        "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
    ]
    assert f"podman keeps images by user, and executors run as {SPARK}" in node.log.read_text()


def test_a_node_of_another_framework_or_without_executors_is_left_as_it_is(host, tmp_path):
    for framework, serves in (("vllm", True), ("nim", False)):
        nim.prepare(Node(framework, tmp_path, tmp_path, "", serves=serves))

    assert host.calls() == []


def test_the_doctor_finds_all_that_a_node_for_nim_needs(host, monkeypatch):
    host.docker()
    gpu(host)
    monkeypatch.setattr(container_checks, "may_use_socket", lambda _: True)

    levels = {each.name: each.level for each in check_node("nim")}

    for name in ("GPU driver", "container engine", "container rights", "container toolkit"):
        assert levels[name] == "ok", name
    assert not [name for name in levels if name.startswith(("environment", "packages", "compiler"))]


WRONG = [
    ("none", "container engine: error: no docker or podman on PATH", "optional component DOCKER"),
    ("daemon", "container engine: error: docker says: Cannot connect to the Docker daemon", "enable --now"),
    ("socket", "container engine: error: docker says: permission denied", "usermod -aG docker"),
    ("old", "container engine: warning: docker 20.10.24; NIM of series 2 wants 24", "a newer Docker"),
    ("group", f"container rights: error: executors run as {SPARK}, who is not in", "usermod -aG docker"),
    ("toolkit", "container toolkit: error: docker cannot give GPUs", "apt-get install nvidia-container-toolkit"),
    ("driver", "GPU driver: error: 535.1.1; nim/llama:2.1 is built for CUDA 13, which needs 580", "a runtime or"),
    ("any image", "GPU driver: warning: 535.1.1; NIM of the series 2 and 3", "take a NIM of series 1, or take"),
]


@pytest.mark.parametrize(("problem", "said", "fix"), WRONG)
def test_the_doctor_says_what_is_wrong_with_containers(host, monkeypatch, problem, said, fix):
    says = {
        "daemon": "echo 'Cannot connect to the Docker daemon' >&2; exit 1",
        "socket": "echo 'permission denied' >&2; exit 1",
        "old": "echo 20.10.24",
    }
    gpu(host, driver="535.1.1" if said.startswith("GPU driver") else "580.95.05")
    if problem == "driver":
        monkeypatch.setenv("NIM_IMAGE", "nim/llama:2.1")
    if problem in says:
        host("docker", says[problem])
    elif problem != "none":
        host.docker(runtimes="runc" if problem == "toolkit" else "runc nvidia")
    name, level, words = said.split(": ", 2)

    finding = found(name)

    assert (finding.level, words in finding.found, fix in finding.fix) == (level, True, True), finding


def test_podman_has_the_toolkit_where_its_devices_are_listed(host):
    host("podman", "echo 5.4.2")
    gpu(host)
    host("nvidia-ctk", "echo nvidia.com/gpu=0")
    assert found("container toolkit").level == "ok"
    host("nvidia-ctk")
    assert found("container toolkit").level == "error"
