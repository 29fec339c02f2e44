"""What the doctor finds on a node of a cluster: stand-in drivers on PATH, real folders, a real sealed environment."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from server_utils.environments.lock_files import find_uv, lock_file
from server_utils.errors import EnvironmentMissingError
from server_utils.host import gpus
from server_utils.node.checks import check_node, compare_with_spark
from server_utils.node.gpu_checks import Finding

A10 = "0, NVIDIA A10G, 23028, {driver}, 8.6"


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """A machine with these GPUs: driver("0, NVIDIA L4, 23034, 580.95.05, 8.9")."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("SPARK_SIDECAR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))

    def stand_in(*rows, status=0):
        tool = folder / "nvidia-smi"
        lines = "\n".join(rows)
        tool.write_text(f"#!/bin/sh\ncat <<'END'\n{lines}\nEND\nexit {status}\n")
        tool.chmod(0o755)

    return stand_in


def finding(title, **options):
    return next((each for each in check_node(**options) if each.name == title), None)


def test_a_gpu_says_all_that_is_asked_of_it(driver):
    driver(A10.format(driver="535.104.05"))
    assert gpus.gpus() == [gpus.Gpu(0, "NVIDIA A10G", 23028, "535.104.05", (8, 6))]


def test_a_driver_that_fails_raises_its_own_words(driver):
    driver("Failed to initialize NVML: Driver/library version mismatch", status=18)
    with pytest.raises(EnvironmentMissingError, match="ended 18 and said: Failed to initialize NVML"):
        gpus.gpus()


@pytest.mark.parametrize(
    ("older", "newer"),
    [("525.60.13", "525.105.17"), ("470.82.01", "525.60.13"), ("580.65.05", "580.65.06"), ("99.1", "525.60.13")],
)
def test_versions_of_drivers_are_compared_as_numbers(older, newer):
    assert gpus.is_older(older, newer)
    assert not gpus.is_older(newer, older)
    assert not gpus.is_older(newer, newer)


@pytest.mark.parametrize("name", ["triton", "torch", "tf"])
@pytest.mark.parametrize("version", ["525.60.13", "535.104.05", "580.95.05"])
def test_a_driver_that_knows_the_cuda_of_the_lock_is_fine(driver, name, version):
    driver(A10.format(driver=version))
    found = finding("GPU driver", name=name)
    assert found.level == "ok"
    assert f"{version}; {name}-cuda.txt is built for CUDA 12." in found.found


def test_a_driver_that_is_too_old_for_the_lock_is_an_error_with_the_version_needed(driver):
    driver(A10.format(driver="470.82.01"))
    found = finding("GPU driver")
    assert found.level == "error"
    assert found.found.endswith("which needs 525.60.13 or newer")
    assert found.fix.startswith("take a runtime or image with driver 525.60.13 or newer")


def test_without_a_gpu_nobody_asks_for_a_driver(driver):
    assert finding("GPU driver") is None
    assert finding("compute capability") is None


def test_a_gpu_of_before_ampere_is_a_warning_that_names_the_way_out(driver):
    driver("0, Tesla T4, 15360, 580.95.05, 7.5")
    found = finding("compute capability")
    assert (found.level, found.found) == ("warning", "Tesla T4 7.5: no bfloat16 before 8.0")
    assert "float16" in found.fix
    assert "dtype" not in found.fix


def test_a_worker_of_a_gpu_cluster_without_a_gpu_is_an_error(driver):
    assert finding("GPU", need_gpu=False).level == "ok"
    found = finding("GPU", need_gpu=True)
    assert (found.level, found.found) == ("error", "none: there is no nvidia-smi, so the image has no GPU driver")


def test_a_worker_whose_driver_does_not_answer_is_an_error(driver):
    driver("No devices were found", status=6)
    assert finding("GPU", need_gpu=True).level == "error"
    assert finding("GPU", need_gpu=False).level == "warning"


def test_the_last_line_of_sparks_defaults_wins_as_it_does_for_spark(driver, tmp_path):
    """Google's GPU action appends an amount of 1, whatever was set before."""
    driver("0, NVIDIA L4, 23034, 580.95.05, 8.9", "1, NVIDIA L4, 23034, 580.95.05, 8.9")
    defaults = tmp_path / "spark-defaults.conf"
    defaults.write_text("spark.executor.resource.gpu.amount 2\nspark.executor.resource.gpu.amount=1\n")
    found = finding("GPUs of Spark")
    assert found.level == "warning"
    assert found.found.startswith("2 in this machine, 1 by spark.executor.resource.gpu.amount of ")
    assert found.fix.startswith("set spark.executor.resource.gpu.amount to 2")
    defaults.write_text("spark.executor.resource.gpu.amount 1\nspark.executor.resource.gpu.amount=2\n")
    assert finding("GPUs of Spark").level == "ok"


def test_what_a_session_gave_is_compared_with_the_machine(driver):
    assert compare_with_spark(0) == []
    driver("0, NVIDIA L4, 23034, 580.95.05, 8.9")
    assert [each.level for each in compare_with_spark(1)] == ["ok"]
    assert [each.level for each in compare_with_spark(4)] == ["warning"]


@pytest.fixture
def environment(driver, tmp_path):
    """A sealed environment with one package of the lock in it."""
    folder = tmp_path / "home" / "envs" / "triton"
    subprocess.run([*find_uv(), "venv", "--quiet", "--python", sys.executable, folder], check=True)
    return folder


def install(environment, package, version):
    site = next(environment.glob("lib/python*/site-packages"))
    for old in site.glob(f"{package}-*.dist-info"):
        shutil.rmtree(old)
    (site / f"{package}-{version}.dist-info").mkdir()
    (site / f"{package}-{version}.dist-info" / "METADATA").write_text(f"Name: {package}\nVersion: {version}\n")


def test_packages_of_the_locked_versions_are_fine(environment):
    install(environment, "cloudpickle", "3.1.2")
    install(environment, "not_in_the_lock", "1.0")
    assert finding("packages of triton") == Finding(
        "packages of triton", "ok", f"2, as {lock_file('triton').name} says"
    )


def test_a_package_of_another_version_is_an_error_with_the_commands(environment):
    install(environment, "cloudpickle", "2.2.1")
    found = finding("packages of triton")
    assert found.level == "error"
    assert "cloudpickle 2.2.1" in found.found
    assert found.fix == f"rm -r {environment} && spark-sidecar env build triton"


def test_an_environment_that_is_not_there_has_no_packages_to_look_at(driver):
    assert finding("packages of triton") is None


def test_a_slice_of_a_gpu_is_said_and_several_of_them_come_with_what_to_set(driver):
    driver("0, NVIDIA A10-24Q, 23028, 550.144.03, 8.6")
    assert finding("virtual GPU").level == "ok"
    driver("0, NVIDIA A10-24Q, 23028, 550.144.03, 8.6", "1, NVIDIA A10-24Q, 23028, 550.144.03, 8.6")
    found = finding("virtual GPU")
    assert (found.level, found.fix.startswith("set NCCL_P2P_DISABLE=1")) == ("warning", True)
    driver(A10.format(driver="550.144.03"))
    assert finding("virtual GPU") is None


def test_rapids_that_an_image_switches_on_is_a_warning(driver, tmp_path):
    driver(A10.format(driver="550.144.03"))
    defaults = tmp_path / "spark-defaults.conf"
    defaults.write_text("spark.plugins com.nvidia.spark.SQLPlugin\n")
    found = finding("RAPIDS")
    assert (found.level, found.fix) == ("warning", "set spark.plugins to nothing when the session is made")
    defaults.write_text("spark.plugins=com.nvidia.spark.SQLPlugin\nspark.plugins=org.example.Other\n")
    assert finding("RAPIDS") is None
    # What the modules add: an empty value unloads the plugin, and the last line counts.
    for empty in ("spark.plugins=\n", "spark.plugins \n", "spark.plugins:\n"):
        defaults.write_text(f"spark.plugins com.nvidia.spark.SQLPlugin\n{empty}")
        assert finding("RAPIDS") is None


def yarn_site(folder, **values):
    properties = "\n".join(
        f"<property>\n  <name>yarn.nodemanager.{name.replace('_', '-')}</name>\n  <value>{value}</value>\n</property>"
        for name, value in values.items()
    )
    (folder / "yarn-site.xml").write_text(f"<configuration>\n{properties}\n</configuration>\n")


@pytest.mark.parametrize(
    ("values", "on"),
    [
        ({}, ["pmem", "vmem"]),
        ({"pmem_check_enabled": "true", "vmem_check_enabled": "false"}, ["pmem"]),
        ({"pmem_check_enabled": "false", "vmem_check_enabled": "false"}, []),
    ],
)
def test_a_memory_watch_of_yarn_that_counts_servers_is_a_warning_with_its_properties(tmp_path, monkeypatch, values, on):
    monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path))
    assert finding("memory watch of YARN") is None
    yarn_site(tmp_path, **values)
    found = finding("memory watch of YARN")
    assert found.level == ("warning" if on else "ok")
    assert re.findall(r"yarn:yarn\.nodemanager\.(\w+)-check-enabled=false", found.fix) == on


def python_without_libpython(path, headers):
    """A Python that answers what it is asked: for its headers, and about itself."""
    report = json.dumps({"version": list(sys.version_info[:3]), "name": "libpython", "libraries": {}})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\ncase \"$*\" in *Python.h*) echo {headers}/Python.h;; *) echo '{report}';; esac\n")
    path.chmod(0o755)


def test_vllm_on_a_gpu_needs_a_compiler_and_the_headers_of_its_python(driver, tmp_path, monkeypatch):
    driver(A10.format(driver="550.144.03"))
    python = tmp_path / "home" / "envs" / "vllm" / "bin" / "python"
    python_without_libpython(python, tmp_path)
    (tmp_path / "Python.h").touch()
    monkeypatch.setenv("CC", "/usr/bin/cc")
    assert finding("compiler", name="vllm") == Finding("compiler", "ok", f"/usr/bin/cc, {tmp_path}/Python.h")

    python_without_libpython(python, "/nowhere")
    monkeypatch.delenv("CC")
    shutil.copy("/bin/cat", tmp_path / "bin")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    found = finding("compiler", name="vllm")
    assert found.level == "error"
    assert found.found == "without a C compiler and /nowhere/Python.h no kernel can be compiled"
    assert re.fullmatch(r"apt-get install gcc python3\.\d+-dev, on every node", found.fix)


def test_without_a_gpu_nothing_is_compiled_and_nobody_asks_for_a_compiler(environment):
    assert finding("compiler") is None


def test_an_environment_of_vllm_needs_no_libpython(driver, tmp_path):
    python = tmp_path / "home" / "envs" / "vllm" / "bin" / "python"
    python_without_libpython(python, "/nowhere")
    assert finding("environment vllm", name="vllm").found.startswith("Python 3.")
    shutil.copytree(python.parents[1], python.parents[2] / "triton")
    assert "Triton's backend needs" in finding("environment triton").found


# What nvidia-smi says of reading from peers, with its legend; "CNS" is "chipset not supported".
PEERS = """\tGPU0\tGPU1
 GPU0\tX\t{0}
 GPU1\t{0}\tX

Legend:
  X    = Self
  OK   = Status Ok
  CNS  = Chipset not supported
"""


@pytest.fixture
def two_gpus(driver, tmp_path):
    """A machine with two L4, of which this is said when it is asked for peers."""

    def stand_in(said, status=0):
        driver("0, NVIDIA L4, 23034, 580.95.05, 8.9", "1, NVIDIA L4, 23034, 580.95.05, 8.9")
        tool = tmp_path / "bin" / "nvidia-smi"
        (tmp_path / "peers").write_text(PEERS.format(said))
        first, rest = tool.read_text().split("\n", 1)
        asked = f'if [ "$1" = topo ]; then cat {tmp_path}/peers; exit {status}; fi'
        tool.write_text(f"{first}\n{asked}\n{rest}")

    return stand_in


def test_gpus_that_do_not_reach_each_other_get_a_hint_for_vllm(two_gpus):
    two_gpus("CNS")
    found = finding("GPU peers")
    assert found.level == "warning"
    assert "disable_custom_all_reduce=True" in found.fix


def test_gpus_that_reach_each_other_need_no_hint(two_gpus):
    two_gpus("OK")
    assert finding("GPU peers").level == "ok"


def test_where_peers_are_not_told_nothing_is_said(two_gpus, driver):
    two_gpus("CNS", status=2)
    assert finding("GPU peers") is None
    driver(A10.format(driver="535.104.05"))
    assert finding("GPU peers") is None
