"""The life of each example, as a user lives it: apply, nothing more to do, a changed script, destroy, models kept.

The example of Databricks is applied for each of its clouds.
"""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys

import pytest

from integration.terraform.harness import REPOSITORY

CLOUDS = ["databricks-aws", "databricks-azure", "databricks-gcp"]
FOLDER = {**dict.fromkeys(CLOUDS, "databricks"), "dataproc": "dataproc"}
GIVEN = {**{each: {"platform": each, "catalog": "main"} for each in CLOUDS}, "dataproc": {"project": "project-1"}}
CLUSTER = {**dict.fromkeys(CLOUDS, "databricks_cluster"), "dataproc": "google_dataproc_cluster"}
STORE = {**dict.fromkeys(CLOUDS, "databricks_volume"), "dataproc": "google_storage_bucket"}
each_example = pytest.mark.parametrize("example", GIVEN)
# One of Databricks' clouds is enough where Terraform, not the cloud, is tested.
each_kind = pytest.mark.parametrize("example", ["databricks-aws", "dataproc"])


def options(given):
    return [f"-var={key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in given.items()]


@pytest.fixture
def apply(own_copy):
    """Applies an example in a copy of its own, and returns its folder."""

    def run(terraform, example, **more):
        folder = own_copy / "terraform" / "examples" / FOLDER[example]
        if not (folder / ".terraform").exists():
            for each in terraform.providers.values():
                each.created.clear()
                each.destroyed.clear()
                each.not_empty.clear()
            terraform.init(folder)
        terraform.run(folder, "apply", "-auto-approve", "-input=false", *options(GIVEN[example] | more))
        return folder

    return run


@pytest.fixture(scope="module")
def planned(newest, shared_copy):
    """planned(folder, **variables): the changes in a plan of an example. It is made once, and no test changes it."""

    @functools.cache
    def folder(name):
        found = shared_copy / "terraform" / "examples" / name
        newest.init(found)
        return found

    @functools.cache
    def plan(name, **variables):
        return newest.plan(folder(name), **variables)["resource_changes"]

    return plan


def has_nothing_to_do(terraform, folder, example):
    # With -detailed-exitcode, 0 is: no changes.
    terraform.run(folder, "plan", "-detailed-exitcode", "-input=false", *options(GIVEN[example]))


def destroyed(terraform):
    return [kind for each in terraform.providers.values() for kind in each.destroyed]


def actions(plan):
    """Type -> what is planned for resources of it, for those that change."""
    found = {}
    for each in plan["resource_changes"]:
        if each["change"]["actions"] not in (["no-op"], ["read"]):
            found.setdefault(each["type"], set()).add("/".join(each["change"]["actions"]))
    return found


@each_example
def test_an_example_prints_what_to_open_next_and_has_nothing_more_to_do(example, apply, newest):
    folder = apply(newest, example)
    has_nothing_to_do(newest, folder, example)
    printed = newest.run(folder, "output")
    assert "gpus_per_node = 1" in printed
    for name in ("models", "urls" if example == "dataproc" else "cluster_url"):
        assert f"{name} = " in printed
    arguments = json.loads(newest.run(folder, "output", "-json", "live_checks"))
    asked = [sys.executable, REPOSITORY / "scripts" / "live_checks.py", *arguments, "--only", "example"]
    assert subprocess.run(asked, check=False).returncode == 0


@pytest.mark.parametrize(
    ("given", "node_type"),
    [
        ({"platform": "databricks-aws"}, "g5.xlarge"),
        ({"platform": "databricks-azure"}, "Standard_NC4as_T4_v3"),
        ({"platform": "databricks-gcp"}, "g2-standard-8"),
        ({"platform": "databricks-gcp", "shape": "a100x2"}, "a2-highgpu-2g"),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else value,
)
def test_each_cloud_of_databricks_has_a_shape_of_its_own_unless_one_is_given(given, node_type, planned):
    changes = planned("databricks", catalog="main", **given)
    (cluster,) = (each["change"]["after"] for each in changes if each["type"] == "databricks_cluster")
    assert cluster["node_type_id"] == node_type


@each_example
def test_the_first_cluster_is_one_cheap_node(example, planned, shared_copy):
    changes = planned(FOLDER[example], **GIVEN[example])
    (cluster,) = (each["change"]["after"] for each in changes if each["type"] == CLUSTER[example])
    first = json.loads((shared_copy / "server_utils" / "data" / "clusters.json").read_text())["platforms"][example]
    node_type = first["shapes"][first["first_shape"]]["node_type"]
    if example == "dataproc":
        (config,) = cluster["cluster_config"]
        assert config["master_config"][0]["machine_type"] == node_type
        assert config["worker_config"][0]["num_instances"] == 0
    else:
        assert (cluster["node_type_id"], cluster["num_workers"]) == (node_type, 0)


def test_a_cloud_that_databricks_does_not_have_is_refused(newest, shared_copy):
    folder = shared_copy / "terraform" / "examples" / "databricks"
    newest.init(folder)
    message = newest.refusal(folder, platform="aws", catalog="main")
    assert "platform is 'aws'. Choose one of: databricks-aws, databricks-azure, databricks-gcp." in message


def test_a_catalog_need_not_be_named_where_the_workspace_has_one(planned):
    changes = planned("databricks", platform="databricks-aws")
    volumes = [each["change"]["after"] for each in changes if each["type"] == "databricks_volume"]
    assert [each["catalog_name"] for each in volumes] == ["main", "main"]


def test_a_catalog_that_the_workspace_does_not_have_is_refused_with_those_it_has(newest, shared_copy):
    folder = shared_copy / "terraform" / "examples" / "databricks"
    newest.init(folder)
    message = newest.refusal(folder, platform="databricks-aws", catalog="nowhere")
    assert "There is no catalog 'nowhere', or you may not use it. Catalogs that you may use: main." in message


def test_whom_the_cluster_is_dedicated_to_may_use_both_volumes(planned):
    changes = planned("databricks", platform="databricks-aws", principal="data-scientists")
    granted = {each["address"].split('"')[1] for each in changes if each["type"] == "databricks_grant"}
    assert granted == {"spark_sidecar_files", "spark_sidecar_store"}
    (cluster,) = (each["change"]["after"] for each in changes if each["type"] == "databricks_cluster")
    assert cluster["single_user_name"] == "data-scientists"


def test_whom_the_cluster_is_dedicated_to_may_restart_it(planned):
    changes = planned("databricks", platform="databricks-aws", principal="data-scientists")
    (permissions,) = (each["change"]["after"] for each in changes if each["type"] == "databricks_permissions")
    (allowed,) = permissions["access_control"]
    assert (allowed["group_name"], allowed["permission_level"]) == ("data-scientists", "CAN_RESTART")


def test_whom_the_cluster_is_dedicated_to_may_use_a_schema_that_is_made(planned):
    made = {"principal": "data-scientists", "schema": "inference", "create_schema": True}
    changes = planned("databricks", platform="databricks-aws", **made)
    granted = [each["change"]["after"] for each in changes if each["type"] == "databricks_grant"]
    assert [each["privileges"] for each in granted if each["schema"]] == [["USE_SCHEMA"]]


def test_the_nodes_of_the_example_on_dataproc_reach_a_package_index_through_a_nat(apply, newest):
    folder = apply(newest, "dataproc")
    state = json.loads(newest.run(folder, "show", "-json"))["values"]["root_module"]["child_modules"]
    made = {each["type"]: each["values"] for module in state for each in module["resources"]}
    (machines,) = made["google_dataproc_cluster"]["cluster_config"][0]["gce_cluster_config"]
    nat = made["google_compute_router_nat"]
    assert machines["subnetwork"] == nat["subnetwork"][0]["name"] == made["google_compute_subnetwork"]["id"]
    assert machines["tags"] == made["google_compute_firewall"]["target_tags"]
    # The NAT takes minutes, in which Google makes the service agents of a new project: nothing else waits for these.
    last = {kind: number for number, kind in enumerate(newest.providers["google"].created)}
    before = ("google_project_service", "google_compute_router_nat", "google_project_iam_member")
    assert all(last[kind] < last["google_dataproc_cluster"] for kind in before)


@each_kind
def test_an_example_that_is_copied_into_another_repository_is_planned(example, newest, own_copy, tmp_path_factory):
    """By the two changes that its README names."""
    folder = tmp_path_factory.mktemp("elsewhere") / "cluster"
    shutil.copytree(own_copy / "terraform" / "examples" / FOLDER[example], folder)
    (wheel,) = (own_copy / "dist").glob("*.whl")
    (folder / wheel.name).write_bytes(wheel.read_bytes())
    main = folder / "main.tf"
    text = main.read_text().replace("../../modules/", f"git::file://{commit(own_copy)}//terraform/modules/")
    main.write_text(text.replace('module "assets" {', f'module "assets" {{\n  wheel = "{wheel.name}"', 1))
    newest.init(folder)
    planned = actions(newest.plan(folder, **GIVEN[example]))
    assert planned[CLUSTER[example]] == {"create"}


def commit(copy):
    """Make a git repository of a copy, without what is built; return its path."""
    git = ["git", "-C", copy, "-c", "user.name=test", "-c", "user.email=test@example.com"]
    shutil.rmtree(copy / "dist")
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message=copy"]):
        subprocess.run([*git, *command], check=True)
    return copy


def test_on_databricks_a_changed_init_script_restarts_the_cluster(apply, own_copy, each_terraform):
    folder = apply(each_terraform, "databricks-aws")
    with (own_copy / "init-scripts" / "databricks.sh").open("a") as script:
        script.write("# changed\n")
    planned = actions(each_terraform.plan(folder, **GIVEN["databricks-aws"]))
    # An edit of a running cluster is a restart. New files are there before it, and the old ones go after it.
    assert planned == {"databricks_cluster": {"update"}, "databricks_file": {"create/delete"}}
    apply(each_terraform, "databricks-aws")
    has_nothing_to_do(each_terraform, folder, "databricks-aws")


def test_on_dataproc_a_changed_script_makes_no_new_cluster_unless_asked(apply, own_copy, each_terraform):
    folder = apply(each_terraform, "dataproc")
    script = own_copy / "init-scripts" / "dataproc.sh"
    script.write_text(script.read_text() + "# changed\n")
    assert "google_dataproc_cluster" not in actions(each_terraform.plan(folder, **GIVEN["dataproc"]))

    main = folder / "main.tf"
    asked = "bucket = module.files.name\n  recreate_on_change = true\n"
    main.write_text(main.read_text().replace("bucket = module.files.name\n", asked, 1))
    apply(each_terraform, "dataproc")
    script.write_text(script.read_text() + "# changed again\n")
    planned = actions(each_terraform.plan(folder, **GIVEN["dataproc"]))
    assert planned["google_dataproc_cluster"] == {"delete/create"}


@each_kind
def test_destroy_keeps_models_and_data_and_says_so(example, apply, each_terraform):
    folder = apply(each_terraform, example)
    with_models(each_terraform)
    printed = each_terraform.run(folder, "destroy", "-auto-approve", *options(GIVEN[example]), status=1)
    assert destroyed(each_terraform).count(CLUSTER[example]) == 1
    assert destroyed(each_terraform).count(STORE[example]) == 1  # that of the files
    assert "_store is kept" in " ".join(printed.split()) or "is not empty" in printed
    left = each_terraform.run(folder, "state", "list").split()
    assert {each.split(".")[1] for each in left if ".data." not in each} == {"store"}


@each_kind
def test_destroy_removes_models_and_data_too_when_asked(example, apply, each_terraform):
    folder = apply(each_terraform, example)
    with_models(each_terraform)
    apply(each_terraform, example, keep_store=False)
    each_terraform.run(folder, "destroy", "-auto-approve", *options(GIVEN[example] | {"keep_store": False}))
    assert each_terraform.run(folder, "state", "list") == ""
    assert destroyed(each_terraform).count(STORE[example]) == 2


def with_models(terraform):
    terraform.providers["google"].not_empty.add("google_storage_bucket")
