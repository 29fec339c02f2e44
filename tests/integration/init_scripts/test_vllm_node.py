"""A node that is made ready for vLLM serves a language model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from integration.init_scripts.conftest import ROOT, VOLUME, build

SERVE = Path(__file__).with_name("serve_vllm.py")
PYTHON = "/databricks/python3/bin/python"
# Half of a machine's memory is what its temporary file systems hold, and the environment is in one of them here.
_NEEDS_GIB = 8


@pytest.mark.slow
@pytest.mark.timeout(1800)  # environments are made and packed, and vLLM starts
def test_a_node_that_was_made_ready_for_vllm_serves_a_language_model(databricks, tmp_path):
    memory = Path("/proc/meminfo").read_text().split()[1]
    if int(memory) < _NEEDS_GIB * 2**20:
        pytest.skip(f"less than {_NEEDS_GIB} GiB of memory")
    node, run = databricks(build("vllm", tmp_path / "bundle"))
    code, _, err = run(FRAMEWORK="vllm", SPARK_SIDECAR_BUNDLE=VOLUME)
    assert code == 0, err
    maker = str(ROOT / "tests" / "support" / "tiny_llm.py")
    made = node.run("/opt/spark-sidecar/envs/vllm/bin/python", maker, "/opt/tiny")
    assert made[0] == 0, made
    variables = {"DATABRICKS_RUNTIME_VERSION": "17.3", "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": PYTHON}
    code, out, err = node.run(PYTHON, str(SERVE), "/opt/tiny", **variables)
    assert code == 0, err[-3000:]
    assert json.loads(out.splitlines()[-1]) == {"answers": [True, True, False]}
