"""An example on a real cloud account, for who has one: it makes a GPU cluster, which costs money, and destroys it.

The cluster is asked what only a live one can tell, by scripts/live_checks.py: the report is in pytest's output (`-s`).

    terraform -chdir=terraform/examples/databricks init      # once, from Terraform's own registry
    export TF_VAR_platform=databricks-aws # and TF_VAR_catalog=…, if the workspace has several catalogs
    SPARK_SIDECAR_LIVE=databricks ./run test tests/integration/terraform/test_live.py
    SPARK_SIDECAR_LIVE=dataproc TF_VAR_project=my-project ./run test tests/integration/terraform/test_live.py

Credentials are those of the providers (`databricks auth login`, `gcloud auth application-default login`). The store
of models is destroyed too: it is the test's own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid

import pytest

from integration.terraform import modules
from integration.terraform.harness import REPOSITORY, installed

SCRIPT = REPOSITORY / "scripts" / "live_checks.py"
EXAMPLE = os.environ.get("SPARK_SIDECAR_LIVE", "")


@pytest.mark.skipif(not EXAMPLE, reason="SPARK_SIDECAR_LIVE names no example (see the top of this file)")
@pytest.mark.skipif(not installed(), reason="no terraform on PATH: the real providers need a real one")
@pytest.mark.timeout(3 * 3600)
def test_an_example_is_made_and_destroyed_on_a_real_account(tmp_path):
    folder = modules.TERRAFORM / "examples" / EXAMPLE
    state = f"-state={tmp_path / 'terraform.tfstate'}"
    name = f"live-{uuid.uuid4().hex[:8]}"
    own = f"-var=name={name}" if EXAMPLE == "dataproc" else f"-var=prefix={name.replace('-', '_')}"
    options = ["-auto-approve", "-input=false", state, own, "-var=keep_store=false"]
    try:
        subprocess.run(["terraform", "apply", *options], cwd=folder, check=True)
        plan = ["terraform", "plan", "-detailed-exitcode", *options[1:]]
        assert subprocess.run(plan, cwd=folder, check=False).returncode == 0
        shown = subprocess.run(["terraform", "output", "-json", state], cwd=folder, check=True, capture_output=True)
        outputs = {name: each["value"] for name, each in json.loads(shown.stdout).items()}
        asked = subprocess.run([sys.executable, SCRIPT, *outputs["live_checks"]], check=False)
        assert asked.returncode == 0, "an answer is not the expected one: see the report above"
    finally:
        subprocess.run(["terraform", "destroy", *options], cwd=folder, check=True)
