"""The console command: what it prints where, how it ends, and that it is quick to say what it can do."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from server_utils.cli.main import app
from server_utils.clusters.catalogue import nodes

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = ("pyspark", "pandas", "numpy", "pyarrow", "server_utils.node.doctor", "server_utils.clusters.catalogue")
RUN_APP = "from server_utils.cli.main import app; app(prog_name='spark-sidecar')"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def in_a_process(*arguments: str, code: str = RUN_APP) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with nothing in it, and no debugging asked for."""
    monkeypatch.setenv("SPARK_SIDECAR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SPARK_SIDECAR_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("SPARK_SIDECAR_DEBUG", raising=False)
    return tmp_path / "home"


def test_help_names_every_command() -> None:
    said = run("--help")
    assert said.exit_code == 0
    assert all(command in said.stdout for command in ("shapes", "doctor", "demo", "env", "assets"))


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys, server_utils.cli.main; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert in_a_process(code=code).stdout == "[]\n"


def test_without_typer_the_command_says_what_to_install() -> None:
    code = f"import sys; sys.modules['typer'] = None; {RUN_APP}"
    done = in_a_process(code=code)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the command needs typer")
    assert "pip install 'spark-sidecar[cli]'" in done.stderr


def test_shapes_lists_every_node_of_every_platform() -> None:
    said = run("shapes").stdout
    assert all(each.node_type in said and each.platform in said for each in nodes())


def test_shapes_of_one_platform_leaves_the_others_out() -> None:
    said = run("shapes", "--platform", "databricks-aws").stdout
    assert "g5.4xlarge" in said
    assert "g2-standard-12" not in said


def test_shapes_as_json_is_the_catalogue_and_nothing_else() -> None:
    said = json.loads(run("shapes", "--platform", "dataproc", "--json").stdout)
    assert [(each["shape"], each["node_type"]) for each in said] == [
        (each.shape, each.node_type) for each in nodes("dataproc")
    ]


def test_shapes_as_json_says_what_spark_gets_and_which_models_fit() -> None:
    said = {each["shape"]: each for each in json.loads(run("shapes", "--platform", "dataproc", "--json").stdout)}
    assert said["l4x1"]["conf"]["spark.executor.resource.gpu.amount"] == "1"
    assert "Qwen2.5-7B" in said["l4x1"]["models"]
    assert "Qwen2.5-72B" not in said["l4x1"]["models"]
    assert said["h100x8"]["models"][-1] == "Qwen2.5-72B"


def test_cluster_on_databricks_is_json_for_its_own_command() -> None:
    said = json.loads(run("cluster", "databricks-aws", "a10x1", "--framework", "vllm", "--workers", "3").stdout)
    assert (said["node_type_id"], said["num_workers"]) == ("g5.4xlarge", 3)


def test_cluster_takes_a_node_of_ones_own_choice() -> None:
    numbers = ("--gpus", "2", "--vcpus", "32", "--ram-gib", "256", "--gpu-memory-gib", "48")
    said = json.loads(
        run("cluster", "databricks-aws", "--framework", "vllm", "--node-type", "g9.huge", *numbers).stdout
    )
    assert (said["node_type_id"], said["spark_conf"]["spark.executor.resource.gpu.amount"]) == ("g9.huge", "2")
    assert (said["spark_conf"]["spark.executor.cores"], said["spark_conf"]["spark.executor.memory"]) == ("32", "64g")


def test_cluster_tells_the_init_script_of_databricks_where_the_bundle_is() -> None:
    given = ("--init-script", "/Volumes/a/b/c/databricks.sh", "--bundle", "/Volumes/a/b/c/bundle")
    said = json.loads(run("cluster", "databricks-aws", "a10x1-small", "--framework", "vllm", *given).stdout)
    assert said["spark_env_vars"]["SPARK_SIDECAR_BUNDLE"] == "/Volumes/a/b/c/bundle"


@pytest.mark.parametrize(
    ("platform", "shape", "script"),
    [("databricks-aws", "a10x1", "/Volumes/a/b/c/databricks.sh"), ("dataproc", "l4x1", "gs://b/dataproc.sh")],
)
def test_cluster_refuses_an_init_script_that_has_nothing_to_install_from(
    platform: str, shape: str, script: str
) -> None:
    done = in_a_process("cluster", platform, shape, "--framework", "vllm", "--init-script", script)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"the init script {script} installs from a bundle, and none is given; add --bundle" in done.stderr


def test_cluster_warns_on_stderr_of_an_init_script_that_reads_no_volume() -> None:
    given = ("--init-script", "s3://b/i.sh", "--bundle", "/Workspace/Shared/bundle")
    done = in_a_process("cluster", "databricks-aws", "a10x1", "--framework", "vllm", *given)
    assert json.loads(done.stdout)["init_scripts"] == [{"s3": {"destination": "s3://b/i.sh"}}]
    assert "warning: the init script s3://b/i.sh is in no volume" in done.stderr


def test_shapes_says_what_cannot_be_had_everywhere() -> None:
    said = run("shapes", "--platform", "databricks-gcp").stdout
    assert "Sold as spot only, or by reservation: h100x1, h100x2" in said
    assert "Not named by the platform's documents: h200x8, b200x8" in said
    on_dataproc = run("shapes", "--platform", "dataproc").stdout
    assert "Without bfloat16, so vLLM computes in float16: t4x1, t4x4" in on_dataproc


def test_cluster_on_dataproc_is_a_command_that_a_shell_reads() -> None:
    asked = ("cluster", "dataproc", "l4x1", "--framework", "tf", "--conf", "spark.mine=a $b")
    script = f"gcloud() {{ printf '%s\\n' gcloud \"$@\"; }}\n{run(*asked).stdout}"
    read = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    words = json.loads(run(*asked, "--json").stdout)
    assert read.splitlines() == words
    assert words[:4] == ["gcloud", "dataproc", "clusters", "create"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("cluster", "dataproc", "a10x1", "--framework", "vllm"), "no shape on dataproc is called 'a10x1';"),
        (
            ("cluster", "dataproc", "l4x1", "--framework", "jax"),
            "no framework is called 'jax'; choose one of dynamo, nim,",
        ),
        (("cluster", "dataproc", "l4x1", "--framework", "tf", "--env", "x"), "--env takes KEY=VALUE, not 'x'"),
        (("cluster", "dataproc", "l4x2", "--framework", "tf", "--rapids"), "one GPU per executor"),
        (("cluster", "dataproc", "--framework", "tf"), "give a SHAPE (`spark-sidecar shapes` lists them), or --node-"),
        (("cluster", "dataproc", "l4x1", "--framework", "tf", "--gpus", "1"), "--gpus describes a node of your own"),
        (("cluster", "dataproc", "l4x1", "--framework", "tf", "--node-type", "x"), "leave out l4x1, or --node-type"),
        (
            ("cluster", "dataproc", "--framework", "tf", "--node-type", "x", "--gpus", "1"),
            "--node-type is looked up nowhere; also give --vcpus, --ram-gib, --gpu-memory-gib",
        ),
        (("cluster", "dataproc", "l4x1", "--framework", "tf", "--workers", "1"), "Dataproc takes 2 or more, or 0"),
        (("cluster", "dataproc", "l4x1", "--framework", "tf", "--tag", "x"), "--tag takes KEY=VALUE, not 'x'"),
        (("cluster", "dataproc", "h100x8", "--framework", "tf"), "do not name a3-highgpu-8g (h100x8)"),
        (("fit", "no-such-model"), "no model is called 'no-such-model';"),
        (("fit", "Qwen2.5-7B", "--context", "0"), "context (0)"),
    ],
)
def test_wrong_arguments_are_one_line_that_lists_what_there_is(arguments: tuple[str, ...], said: str) -> None:
    done = in_a_process(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_fit_lists_where_a_model_fits() -> None:
    said = json.loads(run("fit", "Qwen2.5-72B", "--platform", "dataproc", "--json").stdout)
    assert {each["shape"] for each in said if each["fits"]} >= {"l4x8", "h100x4", "a100-80x4"}
    assert all(each["why"] and each["short_gib"] > 0 for each in said if not each["fits"])


def test_fit_of_a_model_that_fits_nowhere_says_by_how_much_and_ends_with_1() -> None:
    done = in_a_process("fit", "Llama-3.1-70B", "--context", "131072", "--sequences", "100", "--json")
    assert done.returncode == 1
    lacks = min(each["short_gib"] for each in json.loads(done.stdout))
    assert "Llama-3.1-70B fits nowhere; the closest is " in done.stderr
    assert f"each GPU lacks {lacks:.1f} GiB" in done.stderr


def test_an_unknown_platform_is_one_line_on_stderr_and_status_2() -> None:
    done = in_a_process("shapes", "--platform", "gcp", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no platform is called 'gcp'; did you mean databricks-gcp?")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("through", ["flag", "variable"])
def test_debug_shows_the_stack_trace(through: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if through == "variable":
        monkeypatch.setenv("SPARK_SIDECAR_DEBUG", "1")
    flags = ["--debug"] if through == "flag" else []
    done = in_a_process(*flags, "shapes", "--platform", "gcp")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_doctor_ends_with_1_where_there_is_an_error_and_names_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/no/such/jdk")
    said = run("doctor")
    assert said.exit_code == 1
    assert "Debian/Ubuntu: apt-get install openjdk-17-jre-headless; Fedora" in said.stdout


def test_doctor_as_json_has_the_status_of_its_findings() -> None:
    said = run("doctor", "--json")
    findings = json.loads(said.stdout)
    assert {frozenset(each) for each in findings} == {frozenset({"name", "level", "found", "fix"})}
    assert said.exit_code == int(any(each["level"] == "error" for each in findings))


def test_env_list_names_what_is_built_and_leaves_half_builds_out(own_home: Path) -> None:
    assert run("env", "list").stdout == ""
    for name in ("triton", ".triton.building"):
        (own_home / "envs" / name / "bin").mkdir(parents=True)
        (own_home / "envs" / name / "bin" / "python").touch()
    assert run("env", "list").stdout == f"{own_home / 'envs' / 'triton'}\n"


def test_env_build_of_an_unknown_name_is_status_2_and_lists_the_names() -> None:
    done = in_a_process("env", "build", "tritn")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "triton" in done.stderr


def test_env_build_with_an_interpreter_that_does_not_run_is_status_1() -> None:
    done = in_a_process("env", "build", "triton", "--python", "/bin/false")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_env_build_with_an_interpreter_that_is_not_there_is_status_2() -> None:
    assert run("env", "build", "triton", "--python", "/no/such/python").exit_code == 2


@pytest.mark.parametrize("rows", ["0", "-1", "many"])
def test_demo_refuses_a_number_of_rows_that_makes_no_sense(rows: str) -> None:
    assert run("demo", "--rows", rows).exit_code == 2
