"""The examples of a state in common: the real Terraform on servers that speak the stores' protocols."""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.request
from contextlib import contextmanager

import boto3
import pytest

from integration.storage import servers
from integration.terraform import azure, modules
from server_utils.host.processes import wait_until

BACKENDS = modules.TERRAFORM / "backends"
RESOURCE = 'resource "terraform_data" "this" {\n  input = "kept"\n}\n'
S3_HERE = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_S3_USE_PATH_STYLE": "true",
}


# Its apply ends when the test removes the file `held`, and holds the lock until then.
HELD = """
resource "terraform_data" "held" {
  provisioner "local-exec" {
    command = "touch held; for i in $(seq 600); do [ -e held ] || exit 0; sleep 0.1; done; exit 1"
  }
}
"""
ENVIRON = {"TF_CLI_CONFIG_FILE": os.devnull, "CHECKPOINT_DISABLE": "1"}
APPLY = ("apply", "-auto-approve", "-input=false")


@pytest.fixture
def terraform(command, tmp_path):
    """Runs Terraform in a folder that has an example and one resource: terraform("s3", "apply", …)."""

    def run(name, *arguments, **variables):
        if not (tmp_path / "main.tf").exists():
            (tmp_path / "main.tf").write_text(RESOURCE)
        shutil.copy(BACKENDS / f"{name}.tf", tmp_path / "backend.tf")
        return subprocess.run(
            [*command, *arguments, "-no-color"], cwd=tmp_path, env=os.environ | ENVIRON | variables,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    return run


@pytest.fixture
def held(command, tmp_path):
    """held(variables): a real apply that has the lock while the block runs, and then ends well."""

    @contextmanager
    def run(variables):
        (tmp_path / "main.tf").write_text(RESOURCE + HELD)
        environ = os.environ | ENVIRON | variables
        with subprocess.Popen([*command, *APPLY], cwd=tmp_path, env=environ, stdout=subprocess.DEVNULL) as first:
            try:
                assert wait_until(lambda: (tmp_path / "held").exists() or first.poll() is not None, 60, pause_s=0.05)
                yield
            finally:
                (tmp_path / "held").unlink(missing_ok=True)
            assert first.wait(60) == 0

    return run


def test_a_state_in_s3_is_kept_and_locked_by_a_file(terraform):
    with servers.moto() as port:
        url = f"http://127.0.0.1:{port}"
        s3 = boto3.client("s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="testing",
                          aws_secret_access_key="testing")  # fmt: skip
        s3.create_bucket(Bucket="my-account-terraform-state")
        here = S3_HERE | {"AWS_ENDPOINT_URL_S3": url, "AWS_ENDPOINT_URL_STS": url, "AWS_ENDPOINT_URL_IAM": url}
        made = terraform("s3", "init", "-input=false", "-backend-config=use_path_style=true", **here)
        assert made.returncode == 0, made.stderr
        applied = terraform("s3", "apply", "-auto-approve", "-input=false", **here)
        assert applied.returncode == 0, applied.stderr
        state = {"Bucket": "my-account-terraform-state", "Key": "spark-sidecar/terraform.tfstate"}
        assert b'"kept"' in s3.get_object(**state)["Body"].read()
        lock = '{"ID":"another","Operation":"OperationTypeApply","Who":"somebody","Path":"x"}'
        s3.put_object(Bucket=state["Bucket"], Key=f"{state['Key']}.tflock", Body=lock)
        refused = terraform("s3", "apply", "-auto-approve", "-input=false", **here)
        assert refused.returncode == 1
        assert "Error acquiring the state lock" in refused.stderr


def test_a_state_in_a_bucket_of_google_is_kept_and_a_second_apply_refused(terraform, held):
    with servers.fake_gcs() as port:
        url = f"http://127.0.0.1:{port}"
        body = b'{"name": "my-project-terraform-state"}'
        urllib.request.urlopen(urllib.request.Request(f"{url}/storage/v1/b?project=p", body))  # noqa: S310 - loopback
        here = {"GOOGLE_OAUTH_ACCESS_TOKEN": "x", "GOOGLE_BACKEND_STORAGE_CUSTOM_ENDPOINT": f"{url}/storage/v1/"}
        made = terraform("gcs", "init", "-input=false", **here)
        assert made.returncode == 0, made.stderr
        applied = terraform("gcs", "apply", "-auto-approve", "-input=false", **here)
        assert applied.returncode == 0, applied.stderr
        with urllib.request.urlopen(f"{url}/storage/v1/b/my-project-terraform-state/o") as found:  # noqa: S310 - loopback
            assert "spark-sidecar/default.tfstate" in found.read().decode()
        with held(here):
            refused = terraform("gcs", *APPLY, **here)
        assert refused.returncode == 1
        # The object that is the lock may only be made where there is none.
        assert "spark-sidecar/default.tflock" in refused.stderr
        assert "Error 412: Precondition" in refused.stderr


def test_a_state_in_azure_is_kept_and_a_second_apply_refused(terraform, held, tmp_path):
    if not shutil.which("azurite-blob"):
        pytest.skip("no azurite-blob on PATH, Azure's store for tests: npm install --global azurite")
    with azure.azurite(tmp_path) as here:
        azure.make_container(here, "state")
        # By a key and not by a login, because Azurite has no login.
        made = terraform("azurerm", "init", "-input=false", "-backend-config=use_azuread_auth=false", **here)
        assert made.returncode == 0, made.stderr
        applied = terraform("azurerm", *APPLY, **here)
        assert applied.returncode == 0, applied.stderr
        assert terraform("azurerm", "state", "list", **here).stdout == "terraform_data.this\n"
        assert not (tmp_path / "terraform.tfstate").exists()
        with held(here):
            refused = terraform("azurerm", *APPLY, **here)
        assert refused.returncode == 1
        assert "Error acquiring the state lock" in refused.stderr
        assert "blob is already locked" in " ".join(refused.stderr.split())
        assert terraform("azurerm", *APPLY, **here).returncode == 0


def test_azures_arguments_are_those_that_its_backend_takes(terraform):
    """Also where Azurite is not: Terraform reads the arguments, and fails when it logs in."""
    made = terraform("azurerm", "init", "-input=false", PATH="/nonexistent")
    assert made.returncode == 1
    assert "Unsupported argument" not in made.stderr
    assert "authoriz" in made.stderr.lower() or "credential" in made.stderr.lower() or "account" in made.stderr.lower()
