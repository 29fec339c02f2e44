"""The live checks: programs in place of the platforms' commands answer as a cluster would, otherwise, or not at all."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from csp.live_checks import compare_listing, job, report
from csp.live_checks.ask import Outcome, compare
from csp.live_checks.on_cluster import CommandResult
from csp.live_checks.questions import Where, of, questions
from server_utils.clusters.catalogue import nodes, platforms
from server_utils.clusters.cluster import runtimes

ROOT = Path(__file__).parents[3]
DATA = ROOT / "server_utils" / "data"
SCRIPT = ROOT / "scripts" / "live_checks.py"
BY_KEY = {each.key: each for each in questions()}

# What a cluster says where all is as expected, and something else that must not pass for it.
ANSWERS = {
    "node-ready": ('{"state": "ready", "step": "end"}', '{"state": "failed", "step": "uv"}'),
    "gpu-driver": ("Tesla T4, 570.211.01", "Tesla T4, 525.85.12"),
    "cuda-version": ("/usr/local/cuda-12.6\nCUDA Version: 12.6", "/usr/local/cuda\nCUDA Version: 12.6"),
    "python-version": ("3.11.8 (main)", "3.10.12 (main)"),
    "compiler": ("/usr/bin/gcc True", "None False"),
    "free-disk": ("412G /var/tmp", "12G /var/tmp"),
    "notebook-import": (
        "/databricks/python3/lib/python3.12/site-packages/server_utils/__init__.py ['']",
        "/Workspace/server_utils/__init__.py",
    ),
    "worker-import": (
        "/databricks/python/lib/python3.12/site-packages/server_utils/__init__.py",
        "ModuleNotFoundError",
    ),
    "notebook-python": ("/local_disk0/.ephemeral_nfs/envs/pythonEnv-1 same", "/databricks/python3 same"),
    "databricks-home": ("/root\nwritable", "/nonexistent"),
    "driver-role": ("1", "0"),
    "cluster-runs": ('{"state":"RUNNING"}', '{"state":"TERMINATED"}'),
    "dataproc-runs": ("RUNNING\t3600s", "ERROR\t3600s"),
    "dataproc-home": ("/home/\nnot writable", "/var/lib/hadoop-yarn"),
    "yarn-memory": ("memory:12288\n<name>x</name><value>12288</value>", "memory:9000\n<value>12288</value>"),
    "memory-left": ("6", "1"),
    "memory-watch": ("<name>pmem</name>\n<value>false</value>", "<value>true</value>"),
    "secure-boot": ("SecureBoot enabled\nGPU 0: Tesla T4", "SecureBoot enabled\nNVIDIA-SMI has failed"),
    "rapids-unset": ("spark.plugins=", "spark.plugins=com.nvidia.spark.SQLPlugin"),
    "gpus-isolated": ("4\n4", "0\n4"),
    "local-ssd": ("/mnt/1 /dev/nvme0n1 ext4 rw", ""),
    "bundle-copy": ("SHA256SUMS\nspark_sidecar-1-py3-none-any.whl\nwheels", "bundle"),
    "nim-node": ('28.1.0\nyarn docker\n{"nvidia":{},"runc":{}}', '28.1.0\nyarn\n{"nvidia":{},"runc":{}}'),
    "nim-toolkit": ("NVIDIA Container Toolkit CLI version 1.18.0", "Installed: (none)\n  Candidate: (none)"),
    "node-types": ("all 30 node-types are there", "1 of 30 missing: g5.xlarge (not listed)"),
    "runtimes": ("all 4 runtimes are there", "1 of 4 missing: 18.x"),
    "azure-quota": ('"available_core_quota":350', "Error: not logged in"),
    "notebook-packages": ("all 0.10.2", "ModuleNotFoundError: No module named 'nbclient'"),
    "quotas": ("all 4 quotas are there", "1 of 4 missing: NVIDIA_L4_GPUS"),
}
# A program in place of gcloud and databricks. It records how it is called, and answers from files beside it.
STAND_IN = f"""#!{sys.executable}
import base64, json, pathlib, re, sys
here = pathlib.Path(__file__).parent
words = " ".join(sys.argv[1:])
with (here / "calls").open("a") as calls:
    calls.write(words + "\\n")
responses = json.loads((here / "responses.json").read_text())
for start, (code, text) in responses["commands"].items():
    if words.startswith(start):
        print(text)
        sys.exit(code)
if "submit pyspark" in words:
    print("Job submitted.\\n{job.MARK}" + json.dumps(responses["job"]) + "\\nJob finished.", file=sys.stderr)
elif words.startswith("jobs submit"):
    print(json.dumps({{"run_id": 1, "tasks": [{{"run_id": 7}}]}}))
elif words.startswith("jobs get-run-output 7"):
    print(json.dumps({{"notebook_output": {{"result": "{job.MARK}" + json.dumps(responses["job"])}}}}))
"""


class Platform:
    """A folder for PATH whose programs stand in for the command of a platform."""

    def __init__(self, folder: Path, platform: str) -> None:
        self.folder, self.platform = folder, platform
        self.job = {key: [0, good] for key, (good, _) in ANSWERS.items() if BY_KEY[key].where.on_cluster}
        self.commands: dict[str, list[object]] = {}

    def install(self) -> None:
        program = self.folder / ("gcloud" if self.platform == "dataproc" else "databricks")
        program.write_text(STAND_IN)
        program.chmod(0o755)

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "responses.json").write_text(json.dumps({"job": self.job, "commands": self.commands}))
        environ = os.environ | {"PATH": f"{self.folder}:/usr/local/sbin:/usr/sbin:/sbin:/bin-of-the-system"}
        (self.folder / "bash").exists() or (self.folder / "bash").symlink_to("/bin/bash")
        command = [sys.executable, SCRIPT, self.platform, *arguments]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def dataproc(tmp_path):
    made = Platform(tmp_path, "dataproc")
    made.install()
    region = {"quotas": [{"metric": name} for name in quota_names("dataproc")]}
    made.commands = {
        "compute regions describe": [0, json.dumps(region)],
        "dataproc clusters describe": [0, "RUNNING\t3600s"],
    }
    return made


@pytest.fixture
def databricks(tmp_path):
    made = Platform(tmp_path, "databricks-aws")
    made.install()
    types = [{"node_type_id": each.node_type} for each in nodes("databricks-aws")]
    made.commands = {
        "clusters get ": [0, '{"state": "RUNNING"}'],
        "clusters list-node-types": [0, json.dumps({"node_types": types})],
        "clusters spark-versions": [
            0,
            json.dumps({"versions": [{"key": each.name} for each in runtimes("databricks-aws")]}),
        ],
    }
    return made


def quota_names(platform):
    return {
        name for each in nodes(platform) for name in re.findall(r"\b(?:PREEMPTIBLE_)?NVIDIA_\w+_GPUS\b", each.quota)
    }


ON_DATAPROC = ("--cluster", "mine", "--region", "us-central1", "--project", "p")


def test_the_questions_fit_their_schema_and_have_sorted_keys():
    text = (DATA / "live-checks.json").read_text(encoding="utf-8")
    schema = json.loads((DATA / "live-checks.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(text), schema)
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    assert len(BY_KEY) == len(questions())


@pytest.mark.parametrize("key", [each.key for each in questions() if each.where is not Where.BY_HAND])
def test_a_question_knows_its_answer_from_another_one(key):
    good, other = ANSWERS[key]
    assert compare(BY_KEY[key], CommandResult(0, good)).outcome is Outcome.EXPECTED
    assert compare(BY_KEY[key], CommandResult(0, other)).outcome is Outcome.DIFFERS
    assert compare(BY_KEY[key], CommandResult(0, "")).outcome is Outcome.DIFFERS


@pytest.mark.parametrize("platform", platforms())
def test_a_platform_has_questions_for_a_program_and_for_a_person(platform):
    kinds = {each.where for each in of(platform)}
    assert {Where.LAPTOP, Where.EXECUTOR, Where.EXECUTOR_PYTHON, Where.BY_HAND} <= kinds


def test_the_page_has_every_question_with_what_to_change():
    page = report.page()
    for each in questions():
        (line,) = (line for line in page.splitlines() if line.startswith(f"| `{each.key}`:"))
        assert line.endswith(f"| {each.expected} | {each.change} |")


def test_the_page_has_no_question_but_those_of_the_file():
    text = (ROOT / "docs" / "live-checks.md").read_text(encoding="utf-8")
    assert text.endswith(f"<!-- made by ./run render -->\n{report.page()}<!-- end -->\n")
    assert text.count("| question |") == report.page().count("| question |")


def test_where_all_is_as_expected_the_table_says_so(dataproc):
    done = dataproc.ask(*ON_DATAPROC)
    assert done.returncode == 0, done.stdout + done.stderr
    table = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert {len(line) for line in table} == {80}
    asked = [each for each in of("dataproc") if each.where is not Where.BY_HAND]
    assert [line.split("|")[2].strip() for line in table[2:]] == ["as expected"] * len(asked)
    assert "gpu-links: which links do the GPUs" in done.stdout
    (submitted,) = (call for call in dataproc.calls if "submit" in call)
    assert submitted.endswith(" --cluster=mine --region=us-central1 --project=p")


def test_an_answer_that_differs_says_what_to_change(dataproc):
    dataproc.job["gpu-driver"] = [0, "Tesla T4, 525.85.12"]
    done = dataproc.ask(*ON_DATAPROC)
    assert done.returncode == 1
    assert re.search(r"^\| gpu-driver +\| differs +\| Tesla T4, 525\.85\.12 +\|$", done.stdout, re.MULTILINE)
    printed = " ".join(done.stdout.split())
    assert "### gpu-driver: differs" in printed
    assert (
        "Expected: 535 or newer. Change: driver of the runtime in platforms.json. Found: Tesla T4, 525.85.12" in printed
    )


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ([1, "NVIDIA-SMI has failed"], "failed"),
        ([127, "bash: line 1: nvidia-smi: command not found"], "no command"),
        (None, "failed"),
    ],
)
def test_a_command_of_the_cluster_that_fails_or_is_missing_is_told_apart(answer, outcome, dataproc):
    dataproc.job["gpu-driver"] = answer
    if answer is None:
        del dataproc.job["gpu-driver"]
    done = dataproc.ask(*ON_DATAPROC, "--json")
    answers = {each["question"]: each for each in json.loads(done.stdout)}
    assert done.returncode == 1
    assert answers["gpu-driver"]["outcome"] == outcome
    assert answers["gpu-driver"]["found"] == (answer[1] if answer else "the job did not answer it")
    assert {each["outcome"] for key, each in answers.items() if key != "gpu-driver"} == {"as expected", "not asked"}


def test_a_job_that_is_refused_fails_the_questions_of_the_cluster_only(dataproc):
    dataproc.commands["dataproc jobs submit"] = [1, ""]
    done = dataproc.ask(*ON_DATAPROC, "--json")
    answers = {each["question"]: each for each in json.loads(done.stdout)}
    assert answers["yarn-memory"]["outcome"] == "failed"
    assert answers["yarn-memory"]["found"].startswith("the job gave no answers: gcloud dataproc jobs ended 1")
    assert answers["dataproc-runs"]["outcome"] == "as expected"


def test_without_the_platforms_command_each_question_says_so(tmp_path):
    done = Platform(tmp_path, "dataproc").ask(*ON_DATAPROC, "--json")
    answers = {each["question"]: each for each in json.loads(done.stdout)}
    assert done.returncode == 1
    assert answers["dataproc-runs"]["outcome"] == "no command"
    assert "there is no command gcloud on PATH" in answers["gpu-driver"]["found"]


def test_without_a_cluster_only_what_needs_none_is_asked(dataproc):
    done = dataproc.ask("--region", "us-central1", "--json")
    answers = {each["question"]: each["outcome"] for each in json.loads(done.stdout)}
    assert done.returncode == 0
    assert {key for key, outcome in answers.items() if outcome != "not asked"} == {"quotas"}
    assert len(dataproc.calls) == 1
    assert "needs --region" in dataproc.ask().stdout


def test_databricks_runs_a_notebook_and_deletes_it(databricks):
    done = databricks.ask("--cluster", "0812-1", "--folder", "/Users/me")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [call.split(" --")[0] for call in databricks.calls if not call.startswith("clusters")] == [
        "workspace import /Users/me/spark_sidecar_live_checks",
        "jobs submit",
        "jobs get-run-output 7",
        "workspace delete /Users/me/spark_sidecar_live_checks",
    ]
    (submitted,) = (call for call in databricks.calls if call.startswith("jobs submit"))
    (task,) = json.loads(re.search(r"--json (\{.*\}) --", submitted)[1])["tasks"]
    assert task["existing_cluster_id"] == "0812-1"


def test_the_notebook_is_deleted_where_its_run_failed(databricks):
    databricks.commands["jobs submit"] = [1, ""]
    done = databricks.ask("--cluster", "0812-1", "--only", "notebook-import")
    assert done.returncode == 1
    assert "databricks jobs submit ended 1" in done.stdout
    assert databricks.calls[-1].startswith("workspace delete ")


def test_a_node_type_that_the_workspace_does_not_offer_is_named(databricks):
    (_, text) = databricks.commands["clusters list-node-types"]
    types = json.loads(text)["node_types"]
    lost, refused = types[0], types[1]
    refused["node_info"] = {"status": ["NotEnabledOnSubscription"]}
    databricks.commands["clusters list-node-types"] = [0, json.dumps(types[1:])]
    done = databricks.ask("--only", "node-types", "--json")
    (answer,) = json.loads(done.stdout)
    assert done.returncode == 1
    assert f"{lost['node_type_id']} (not listed)" in answer["found"]
    assert f"{refused['node_type_id']} (NotEnabledOnSubscription)" in answer["found"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dataproc", "--cluster", "mine"), "--cluster needs --region on dataproc"),
        (("dataproc", "--only", "gpu-drivr"), "dataproc has no question gpu-drivr"),
        (("emr",), "invalid choice: 'emr'"),
    ],
)
def test_a_wrong_question_is_refused_before_anything_is_asked(arguments, message):
    done = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr


def test_what_is_no_list_is_said(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("Error: not logged in"))
    assert compare_listing.main(["runtimes", "databricks-aws"]) == 1
    assert "the platform printed no JSON" in capsys.readouterr().out


def test_the_job_tells_a_missing_command_and_a_failing_python_line():
    rows = [
        ("shell", "echo one; echo two >&2", False, True),
        ("missing", "no-such-program", False, True),
        ("python", "print(1 + 1)", True, True),
        ("wrong", "import no_such_module", True, True),
    ]
    answers = job.answers(rows)
    assert answers["shell"] == (0, "one\ntwo")
    assert answers["missing"][0] == 127
    assert answers["python"] == (0, "2")
    assert answers["wrong"] == (1, "ModuleNotFoundError: No module named 'no_such_module'")
