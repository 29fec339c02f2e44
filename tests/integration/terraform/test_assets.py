"""What is uploaded: with it, the init scripts find, check and read what they need."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from integration.terraform.harness import REPOSITORY

VOLUME = "/Volumes/main/default/files"
GIVEN = {
    "databricks-assets": {"volume": VOLUME, "framework": "vllm", "workspace_folder": "/Shared/kit"},
    "dataproc-assets": {"bucket": "project-1-files"},
}
each_module = pytest.mark.parametrize("module", GIVEN)


def names(folder, suffix):
    """Group and name of each file, as in text/sentiment."""
    found = (REPOSITORY / folder).glob(f"*/*{suffix}")
    return {each.relative_to(REPOSITORY / folder).with_suffix("").as_posix() for each in found}


NOTEBOOKS, PROGRAMS = names("notebooks", ".ipynb"), names("notebooks/src", ".py")


def uploaded(plan):
    """Name in the folder -> the planned resource."""
    planned = [each["change"]["after"] for each in plan["resource_changes"] if each["mode"] == "managed"]
    named = {each.get("path") or each["name"]: each for each in planned}
    return {
        name.split("spark-sidecar", 1)[1].partition("/")[2]: each
        for name, each in named.items()
        if "spark-sidecar" in name
    }


def sources(plan, address, folder):
    """The path or name of each planned resource of an address -> its file, for a plan that was made in a folder."""
    planned = [each for each in plan["resource_changes"] if each["address"].startswith(f"{address}[")]
    after = [each["change"]["after"] for each in planned]
    return {each.get("path") or each["name"]: (folder / each["source"]).resolve() for each in after}


def text_of(resource):
    return (
        base64.b64decode(resource["content_base64"]).decode() if "content_base64" in resource else resource["content"]
    )


@pytest.fixture
def plan(newest, own_copy):
    def run(module, **more):
        folder = own_copy / "terraform" / "modules" / module
        newest.init(folder)
        return newest.plan(folder, **GIVEN[module], **more)

    return run


@each_module
def test_the_sum_that_is_uploaded_is_the_one_that_sha256sum_checks(module, plan, own_copy, tmp_path):
    files = uploaded(plan(module))
    (wheel,) = (own_copy / "dist").glob("*.whl")
    assert wheel.name in files
    there = tmp_path / "there"
    there.mkdir()
    shutil.copy(wheel, there)
    (there / "SHA256SUMS").write_text(text_of(files["SHA256SUMS"]))
    subprocess.run(["sha256sum", "--quiet", "--check", "SHA256SUMS"], cwd=there, check=True)


@each_module
def test_a_bundle_is_uploaded_as_it_is(module, plan, tmp_path):
    bundle = tmp_path / "bundle"
    for name in ("SHA256SUMS", "spark_sidecar-0.1.0-py3-none-any.whl", "uv-0.13.0.whl", "wheels/a.whl"):
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle / name).write_text(name)
    files = uploaded(plan(module, bundle=str(bundle)))
    for path in (each for each in bundle.rglob("*") if each.is_file()):
        assert files[str(path.relative_to(bundle))]["source"] == str(path)


def test_the_script_on_databricks_is_told_where_its_settings_are(plan):
    made = plan("databricks-assets")
    files = uploaded(made)
    folder = made["planned_values"]["outputs"]["folder"]["value"]
    assert f'SETTINGS="{folder}/spark-sidecar.env"' in text_of(files["databricks.sh"])
    settings = dict(line.split("=") for line in text_of(files["spark-sidecar.env"]).splitlines())
    assert settings == {
        "FRAMEWORK": "vllm",
        "SPARK_SIDECAR_BUNDLE": folder,
        "SPARK_SIDECAR_LOGS": "/Volumes/main/default/files/logs",
    }


DOWNLOADS = {"UV_INDEX_URL": "https://index.example.com/simple", "HTTPS_PROXY": "http://proxy.example.com:3128"}


def test_nodes_of_databricks_are_told_how_to_reach_the_package_index(plan):
    text = text_of(uploaded(plan("databricks-assets", downloads=DOWNLOADS))["spark-sidecar.env"])
    assert DOWNLOADS.items() <= dict(line.split("=", 1) for line in text.splitlines()).items()


def test_nodes_of_dataproc_are_told_how_to_reach_the_package_index(plan):
    metadata = plan("dataproc-assets", downloads=DOWNLOADS)["planned_values"]["outputs"]["metadata"]["value"]
    assert DOWNLOADS.items() <= metadata.items()


def test_the_script_on_databricks_reads_what_it_is_told(plan, tmp_path):
    made = plan("databricks-assets")
    # The volume is a folder here, and the runtime's Python is absent: the script gets as far as to miss it.
    folder = Path(made["planned_values"]["outputs"]["folder"]["value"].replace("/Volumes", str(tmp_path)))
    folder.mkdir(parents=True)
    for name, resource in uploaded(made).items():
        if resource.get("content_base64"):
            (folder / name).write_text(text_of(resource).replace("/Volumes", str(tmp_path)))
    script = shutil.copy(folder / "databricks.sh", tmp_path)  # as on Databricks, it does not run where it was uploaded
    done = subprocess.run(
        ["bash", script], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "/databricks/python3/bin/python is not Python 3.11 or later" in done.stderr


def test_the_metadata_on_dataproc_names_the_folder_of_the_files(plan):
    made = plan("dataproc-assets")
    metadata = made["planned_values"]["outputs"]["metadata"]["value"]
    assert metadata["spark-sidecar-bundle"] == "gs://project-1-files/spark-sidecar"
    # Beside the bundle, not in it: nodes copy all that is in it.
    assert metadata["spark-sidecar-logs"] == "gs://project-1-files/spark-sidecar-logs"


def test_databricks_gets_exactly_the_notebooks_of_the_repository_in_their_groups(plan, own_copy):
    made = plan("databricks-assets")
    assert sources(made, "databricks_notebook.this", own_copy / "terraform/modules/databricks-assets") == {
        f"/Shared/kit/{name}": own_copy / "notebooks" / f"{name}.ipynb" for name in NOTEBOOKS
    }
    paths = made["planned_values"]["outputs"]["notebooks"]["value"]
    assert paths == {name: f"/Shared/kit/{name}" for name in NOTEBOOKS}


def test_dataproc_gets_exactly_the_notebooks_and_programs_of_the_repository_in_their_groups(plan, own_copy):
    made, folder = plan("dataproc-assets"), own_copy / "terraform/modules/dataproc-assets"
    assert sources(made, "google_storage_bucket_object.notebooks", folder) == {
        f"notebooks/jupyter/{name}.ipynb": own_copy / "notebooks" / f"{name}.ipynb" for name in NOTEBOOKS
    }
    assert sources(made, "google_storage_bucket_object.programs", folder) == {
        f"spark-sidecar-jobs/{name}.py": own_copy / "notebooks" / "src" / f"{name}.py" for name in PROGRAMS
    }
    assert set(made["planned_values"]["outputs"]["programs"]["value"]) == PROGRAMS == NOTEBOOKS


@each_module
def test_notebooks_of_a_users_own_folder_are_uploaded_but_no_checkpoints_of_jupyter(module, plan, tmp_path):
    mine = tmp_path / "mine"
    for name in ("top.ipynb", "Group/below.ipynb", ".ipynb_checkpoints/top-checkpoint.ipynb"):
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / name).touch()
    made = plan(module, notebooks=str(mine))
    kind = {
        "databricks-assets": "databricks_notebook.this",
        "dataproc-assets": "google_storage_bucket_object.notebooks",
    }
    assert set(sources(made, kind[module], tmp_path).values()) == {mine / "top.ipynb", mine / "Group" / "below.ipynb"}
