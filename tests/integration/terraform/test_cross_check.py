"""Every platform, shape and framework: what Terraform plans is what the command line prints, field for field.

Databricks: the planned resource against the JSON. Dataproc: the planned resource against gcloud's flags, which are read
here by a parser of the test. What the real gcloud makes of them is in tests/unit/csp/dataproc/test_gcloud_command.py.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import json
import re
from dataclasses import fields, replace

import pytest
from support.gcloud_flags import differences, flags

from csp.databricks import cluster_spec as databricks_spec
from csp.databricks import deployer as databricks_deployer
from csp.dataproc import deployer as dataproc_deployer
from csp.dataproc.gcloud_command import gcloud_command
from integration.terraform import modules
from integration.terraform.harness import REPOSITORY, copy_repository
from server_utils.clusters import cluster
from server_utils.clusters.catalogue import nodes, own_node, platforms
from server_utils.clusters.options import Options, check_options
from server_utils.errors import ConfigurationError

FRAMEWORKS = cluster.frameworks()
DATABRICKS = [each for each in platforms() if each.startswith("databricks-")]
# One plan for all of a platform: a module for each combination.
ROOT = """
module "cluster" {{
  source             = "../../modules/{module}"
  for_each           = {each}
  shape              = each.value[0]
  framework          = each.value[1]
  allow_undocumented = true
  {more}
}}
"""
ACCOUNT = "kit@project-1.iam.gserviceaccount.com"
ON_DATAPROC = f"""
  project         = "project-1"
  region          = "us-central1"
  zone            = "us-central1-a"
  service_account = "{ACCOUNT}"
  staging_bucket  = "project-1-files"
"""
GIVEN_ON_DATAPROC = Options(zone="us-central1-a", service_account=ACCOUNT, staging_bucket="project-1-files")
CLUSTERS = {"databricks_cluster", "google_dataproc_cluster"}
# Fields of the planned resource that Databricks' API has no field for, or that it decides itself.
TERRAFORMS_OWN = {"timeouts", "no_wait", "is_pinned", "provider_config"}


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """copies(platform): a copy of the repository whose catalogue has that platform alone.

    Each of a plan's hundreds of modules decodes the catalogue: with all four platforms that is 40 % of the plan's time.
    """

    @functools.cache
    def copy(platform):
        found = copy_repository(tmp_path_factory.mktemp(platform))
        path = found / "server_utils" / "data" / "clusters.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({"platforms": {platform: content["platforms"][platform]}}), encoding="utf-8")
        return found

    return copy


def sold(platform):
    """The nodes of a platform that its clusters can have."""
    return [each for each in nodes(platform) if not (each.spot_only and platform == "dataproc")]


def planned(terraform, copy, name, combined, more):
    """Address "shape/framework" -> the planned cluster."""
    folder = copy / "terraform" / "examples" / f"all-{name}"
    folder.mkdir(exist_ok=True)
    each = json.dumps({key: [row.shape, framework] for key, (row, framework) in combined.items()})
    module = "dataproc" if name.startswith("dataproc") else "databricks"
    (folder / "main.tf").write_text(ROOT.format(each=each, module=module, more=more))
    terraform.init(folder)
    changes = terraform.plan(folder)["resource_changes"]
    return {
        each["module_address"].split('"')[1]: each["change"]["after"] for each in changes if each["type"] in CLUSTERS
    }


def frameworks_of(platform):
    """Those that run there: test_refusals.py has the others."""
    kind = "dataproc" if platform == "dataproc" else "databricks"
    return [each for each in FRAMEWORKS if cluster.refusal(each, kind) is None]


def combinations(rows):
    """Every shape with every framework."""
    return named(itertools.product(rows, frameworks_of(rows[0].platform)))


def in_turn(rows):
    """Each shape with one framework, and each framework with several shapes: no option knows of both."""
    return named(zip(rows, itertools.cycle(frameworks_of(rows[0].platform)), strict=False))


def named(pairs):
    return {f"{row.shape}/{framework}": (row, framework) for row, framework in pairs}


def as_request(resource):
    """A planned resource as the API's JSON: blocks of one element are objects, and what is not set is left out."""
    blocks = {"init_scripts"}
    body = {}
    for key, value in resource.items():
        plain = _plain(value)
        if plain not in (None, [], {}) and key not in TERRAFORMS_OWN:
            body[key] = plain[0] if isinstance(plain, list) and key not in blocks else plain
    return body


def _plain(value):
    if isinstance(value, dict):
        return {key: each for key, old in value.items() if (each := _plain(old)) not in (None, [], {})}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value


def flattened(body):
    """cluster_log_conf and init_scripts have a block of one element in Terraform where the API has an object."""
    for part in [body.get("cluster_log_conf"), *body.get("init_scripts", [])]:
        for key in part or {}:
            part[key] = part[key][0] if isinstance(part[key], list) else part[key]
    return body


def assert_same_on_databricks(found, computed, **more):
    expected = databricks_spec.request_body(computed, name="spark-sidecar", **more)
    assert differences(flattened(as_request(found)), expected) == {}


ME = {"single_user": "someone@example.com"}
SPECIAL = {
    "databricks-aws": (
        'zone = "us-east-1a"\n  instance_profile_arn = "arn:aws:iam::123456789012:instance-profile/x"',
        {"zone": "us-east-1a", "instance_profile": "arn:aws:iam::123456789012:instance-profile/x"},
    ),
    "databricks-azure": ("", {}),
    "databricks-gcp": ('zone = "us-central1-a"', {"zone": "us-central1-a"}),
}


@pytest.mark.parametrize("platform", DATABRICKS)
def test_a_cluster_on_databricks_is_the_one_that_is_printed(platform, newest, copies):
    rows = [each for each in nodes(platform) if not each.spot_only]
    combined = combinations(rows)
    found = planned(newest, copies(platform), platform, combined, f'platform = "{platform}"')
    assert set(found) == set(combined)
    for key, (row, framework) in combined.items():
        computed = cluster.cluster(platform, row.shape, framework, options=Options(**ME), allow_undocumented=True)
        assert_same_on_databricks(found[key], computed)


@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize("platform", DATABRICKS)
def test_with_every_option_too_databricks_is_told_the_same(platform, workers, newest, copies):
    hcl, options = SPECIAL[platform]
    more = f"""
      platform         = "{platform}"
      workers          = {workers}
      spot             = {str(workers > 0).lower()}
      tags             = {{ team = "a" }}
      log_folder       = "/Volumes/a/b/c/logs"
      single_user_name = "group"
      idle_minutes     = 30
      init_script      = "/Volumes/a/b/c/d.sh"
      spark_conf       = {{ "spark.mine" = "1" }}
      env              = {{ MINE = "1" }}
      {hcl}
    """
    rows = nodes(platform) if workers else [each for each in nodes(platform) if not each.spot_only]
    combined = in_turn(rows)
    found = planned(newest, copies(platform), f"{platform}-{workers}", combined, more)
    assert set(found) == set(combined)
    options = Options(
        spot=workers > 0, tags={"team": "a"}, log_folder="/Volumes/a/b/c/logs", single_user="group", idle_minutes=30,
        **options,
    )  # fmt: skip
    for key, (row, framework) in combined.items():
        computed = cluster.cluster(
            platform, row.shape, framework, workers=workers, conf={"spark.mine": "1"}, env={"MINE": "1"},
            options=options, allow_undocumented=True,
        )  # fmt: skip
        assert_same_on_databricks(found[key], computed, init_script="/Volumes/a/b/c/d.sh")


def as_flags(resource):
    """A planned cluster as gcloud's flags."""
    (config,) = resource["cluster_config"]
    (machines,), (software,) = config["gce_cluster_config"], config["software_config"]
    (shielded,) = machines["shielded_instance_config"]
    (endpoint,) = config["endpoint_config"]
    found = {
        "image-version": software["image_version"],
        "properties": software["override_properties"],
        "optional-components": sorted(software["optional_components"]),
        "metadata": machines["metadata"],
        "labels": resource["labels"],
        "region": resource["region"],
        "zone": machines["zone"],
        "subnet": machines["subnetwork"],
        "tags": ",".join(sorted(machines["tags"] or [])) or None,
        "service-account": machines["service_account"],
        "scopes": ",".join(machines["service_account_scopes"]),
        "bucket": config["staging_bucket"],
        "no-address": "" if machines["internal_ip_only"] else None,
        "shielded-secure-boot": "" if shielded["enable_secure_boot"] else None,
        "no-shielded-secure-boot": None if shielded["enable_secure_boot"] else "",
        "shielded-vtpm": "" if shielded["enable_vtpm"] else None,
        "shielded-integrity-monitoring": "" if shielded["enable_integrity_monitoring"] else None,
        "enable-component-gateway": "" if endpoint["enable_http_port_access"] else None,
        **_nodes_as_flags(config),
    }
    # gcloud makes this property of --single-node, and refuses it beside.
    zero_workers = found["properties"].pop("dataproc:dataproc.allow.zero.workers", "false")
    assert (zero_workers == "true") == ("single-node" in found)
    for each in config["lifecycle_config"]:
        found["delete-max-idle"] = f"{int(each['idle_delete_ttl'].removesuffix('s')) // 60}m"
    for each in config["initialization_action"]:
        found |= {"initialization-actions": each["script"], "initialization-action-timeout": f"{each['timeout_sec']}s"}
    return {key: value for key, value in found.items() if value is not None and (value or value == "")}


def _nodes_as_flags(config):
    (worker,), (master,) = config["worker_config"], config["master_config"]
    if worker["num_instances"] == 0:
        return {"single-node": "", **_node_as_flags("master", master)}
    found = {"num-workers": str(worker["num_instances"])}
    found |= _node_as_flags("worker", worker) | _node_as_flags("master", master)
    for each in config["preemptible_worker_config"]:
        named = {"num-secondary-workers": str(each["num_instances"]), "secondary-worker-type": "spot"}
        found |= named | _node_as_flags("secondary-worker", each)
    return found


def _node_as_flags(role, node):
    (disk,) = node["disk_config"]
    found = {
        f"{role}-boot-disk-size": f"{disk['boot_disk_size_gb']}GB",
        f"{role}-boot-disk-type": disk["boot_disk_type"],
    }
    if node.get("machine_type"):
        found[f"{role}-machine-type"] = node["machine_type"]
    if disk["num_local_ssds"]:
        found[f"num-{role}-local-ssds"] = str(disk["num_local_ssds"])
        found[f"{role}-local-ssd-interface"] = disk["local_ssd_interface"]
    for each in node.get("accelerators") or []:
        found[f"{role}-accelerator"] = f"type={each['accelerator_type']},count={each['accelerator_count']}"
    return found


def test_a_cluster_on_dataproc_is_the_one_that_is_printed(newest, copies):
    rows = sold("dataproc")
    combined = combinations(rows)
    found = planned(newest, copies("dataproc"), "dataproc", combined, ON_DATAPROC)
    assert set(found) == set(combined)
    for key, (row, framework) in combined.items():
        computed = cluster.cluster("dataproc", row.shape, framework, options=GIVEN_ON_DATAPROC, allow_undocumented=True)
        printed = gcloud_command(computed, name="spark-sidecar")
        assert differences(as_flags(found[key]), flags(printed)) == {}, key


@pytest.mark.parametrize(("workers", "spot_workers"), [(0, 0), (3, 2)])
def test_with_every_option_too_dataproc_is_told_the_same(workers, spot_workers, newest, copies):
    rows = [each for each in sold("dataproc") if not (spot_workers and each.accelerator)]
    # Some machines bring their own disks, and some take one number of them only.
    disks = {each.shape: 2 if each.local_ssds is None else sum(each.local_ssds) for each in rows}
    more = f"""
      {ON_DATAPROC}
      workers             = {workers}
      spot_workers        = {spot_workers}
      subnetwork          = "spark"
      network_tags        = ["a", "b"]
      labels              = {{ team = "a" }}
      local_ssds          = {json.dumps(disks)}[each.value[0]]
      idle_delete_minutes = null
      init_action         = "gs://b/dataproc.sh"
      metadata            = {{ spark-sidecar-bundle = "gs://b/x", spark-sidecar-logs = "gs://b/y" }}
      spark_conf          = {{ "spark.mine" = "1" }}
      env                 = {{ MINE = "1" }}
    """
    combined = in_turn(rows)
    found = planned(newest, copies("dataproc"), f"dataproc-{workers}", combined, more)
    assert set(found) == set(combined)
    options = Options(
        zone="us-central1-a", service_account=ACCOUNT, staging_bucket="project-1-files", subnetwork="spark",
        network_tags=("a", "b"), tags={"team": "a"}, idle_minutes=0, spot_workers=spot_workers,
        metadata={"spark-sidecar-logs": "gs://b/y"},
    )  # fmt: skip
    for key, (row, framework) in combined.items():
        computed = cluster.cluster(
            "dataproc", row.shape, framework, workers=workers, conf={"spark.mine": "1"}, env={"MINE": "1"},
            options=replace(options, local_ssds=disks[row.shape]), allow_undocumented=True,
        )  # fmt: skip
        printed = gcloud_command(computed, name="spark-sidecar", init_script="gs://b/dataproc.sh", bundle="gs://b/x")
        assert differences(as_flags(found[key]), flags(printed)) == {}, key


# Blocks and fields of a workflow template's own cluster -> what the same is called in google_dataproc_cluster.
IN_A_CLUSTER = {
    "executable_file": "script",
    "execution_timeout": "timeout_sec",
    "gce_pd_kms_key_name": "kms_key_name",
    "initialization_actions": "initialization_action",
    "policy": "policy_uri",
    "properties": "override_properties",
    "secondary_worker_config": "preemptible_worker_config",
}
JOBS = """
locals {{
  clusters = {{
    single  = {{ workers = 0, spot_workers = 0, kms_key = null, autoscale = null }}
    several = {{
      workers      = 3
      spot_workers = 2
      kms_key      = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
      autoscale    = {{ max_workers = 4, max_spot_workers = 2 }}
    }}
  }}
}}
module "cluster" {{
  source = "../../modules/dataproc"
  for_each = merge([
    for name, each in local.clusters : {{ "${{name}}-made" = each, "${{name}}-defined" = each }}
  ]...)
  create              = endswith(each.key, "-made")
  shape               = "l4x1"
  framework           = "vllm"
  workers             = each.value.workers
  spot_workers        = each.value.spot_workers
  kms_key             = each.value.kms_key
  autoscale           = each.value.autoscale
  idle_delete_minutes = null
  subnetwork          = "spark"
  network_tags        = ["a", "b"]
  labels              = {{ team = "a" }}
  init_action         = "gs://b/dataproc.sh"
  driver_init_action  = "gs://b/driver.sh"
  metadata            = {{ spark-sidecar-bundle = "gs://b/x" }}
  {on_dataproc}
}}
module "job" {{
  source      = "../../modules/dataproc-job"
  for_each    = local.clusters
  project     = "project-1"
  region      = "us-central1"
  name        = "job-${{each.key}}"
  program     = "gs://b/a.py"
  new_cluster = module.cluster["${{each.key}}-defined"].job_cluster
}}
"""


def test_a_cluster_of_a_job_s_own_is_the_one_that_the_module_makes(newest, copies):
    folder = copies("dataproc") / "terraform" / "examples" / "jobs"
    folder.mkdir()
    (folder / "main.tf").write_text(JOBS.format(on_dataproc=ON_DATAPROC))
    newest.init(folder)
    planned = {each["address"]: each["change"]["after"] for each in newest.plan(folder)["resource_changes"]}
    assert sum(".google_dataproc_cluster." in address for address in planned) == 2
    for name in ("single", "several"):
        made = planned[f'module.cluster["{name}-made"].google_dataproc_cluster.this[0]']
        (placed,) = planned[f'module.job["{name}"].google_dataproc_workflow_template.this']["placement"]
        (managed,) = placed["managed_cluster"]
        config = _plain(made["cluster_config"][0])
        if name == "single":
            assert config.pop("worker_config")[0]["num_instances"] == 0  # as gcloud does: no workers at all
        for kind in ("master_config", "worker_config", "preemptible_worker_config"):
            for each in config.get(kind, []):
                assert each["disk_config"][0].pop("num_local_ssds") == 0  # a template has none
        assert differences(as_in_a_cluster(_plain(managed["config"][0])), config) == {}
        assert (managed["cluster_name"], managed["labels"]) == (made["name"], made["labels"])


def as_in_a_cluster(value):
    """Blocks of a workflow template, with the names and the numbers of google_dataproc_cluster."""
    if isinstance(value, list):
        return [as_in_a_cluster(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = {IN_A_CLUSTER.get(key, key): as_in_a_cluster(each) for key, each in value.items()}
    if "timeout_sec" in found:
        found["timeout_sec"] = int(found["timeout_sec"].removesuffix("s"))
    return found


def test_a_field_that_one_lacks_is_named():
    assert differences({"a": 1, "b": 2}, {"a": 1, "c": 3}) == {"b": (2, None), "c": (None, 3)}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("platform", platforms())
def test_a_node_of_ones_own_gets_in_terraform_what_python_computes(platform, workers, newest, copies):
    """With the numbers of every node of the catalogue: Terraform has a formula of its own for these."""
    folder = copies(platform) / "terraform" / "examples" / f"own-{platform}-{workers}"
    folder.mkdir()
    module, more = ("dataproc", ON_DATAPROC) if platform == "dataproc" else ("databricks", f'platform = "{platform}"')
    rows = {re.sub(r"\W", "_", each.node_type): each for each in nodes(platform)}
    listed = "\n".join(
        f'    {name} = {{ node_type = "{each.node_type}", gpus = {each.gpus}, vcpus = {each.vcpus}, '
        f"ram_gib = {each.ram_gib}, gpu_memory_gib = {each.gpu_memory_gib} }}"
        for name, each in rows.items()
    )
    (folder / "main.tf").write_text(f"""
locals {{
  nodes = {{
{listed}
  }}
}}
module "cluster" {{
  source    = "../../modules/{module}"
  for_each  = local.nodes
  node      = each.value
  framework = "vllm"
  workers   = {workers}
  {more}
}}
output "conf" {{ value = {{ for name, each in module.cluster : name => each.spark_conf }} }}
""")
    newest.init(folder)
    plan = newest.plan(folder)
    conf = plan["planned_values"]["outputs"]["conf"]["value"]
    for name, row in rows.items():
        numbers = {each: getattr(row, each) for each in ("gpus", "vcpus", "ram_gib", "gpu_memory_gib")}
        own = own_node(platform, row.node_type, **numbers)
        expected = cluster.cluster(platform, own, "vllm", workers=workers)
        assert differences(conf[name], expected.conf) == {}, row
        if platform == "dataproc":
            assert properties_of(plan, name).items() >= expected.properties.items(), row


def properties_of(plan, name):
    for each in plan["resource_changes"]:
        if each.get("module_address") == f'module.cluster["{name}"]' and each["mode"] == "managed":
            (config,) = each["change"]["after"]["cluster_config"]
            return config["software_config"][0]["override_properties"]
    raise AssertionError(name)


@pytest.mark.parametrize("platform", platforms())
def test_with_rapids_the_conf_is_the_one_that_python_computes(platform, newest, copies):
    row = next(each for each in nodes(platform) if each.gpus == 1)
    more = f'platform = "{platform}"' if platform in DATABRICKS else ON_DATAPROC
    folder = copies(platform) / "terraform" / "examples" / f"rapids-{platform}"
    folder.mkdir()
    module = "databricks" if platform in DATABRICKS else "dataproc"
    (folder / "main.tf").write_text(f"""
module "cluster" {{
  source     = "../../modules/{module}"
  shape      = "{row.shape}"
  framework  = "triton"
  workers    = 3
  rapids     = true
  spark_conf = {{ "spark.executor.memory" = "1g", "spark.x" = "y" }}
  env        = {{ MORE = "1" }}
  {more}
}}
output "conf" {{ value = module.cluster.spark_conf }}
output "env" {{ value = module.cluster.env }}
""")
    newest.init(folder)
    outputs = newest.plan(folder)["planned_values"]["outputs"]
    ours = {"spark.executor.memory": "1g", "spark.x": "y"}
    expected = cluster.cluster(platform, row.shape, "triton", workers=3, rapids=True, conf=ours, env={"MORE": "1"})
    assert outputs["conf"]["value"] == expected.conf
    # On Databricks the nodes are told the number of workers too: variables of the cluster, not of the framework.
    told = expected.env
    if platform in DATABRICKS:
        told = databricks_spec.request_body(expected, name="spark-sidecar")["spark_env_vars"]
    assert outputs["env"]["value"] == told


# Variable of a module -> its name in Python, where that is another one.
IN_PYTHON = {
    "accelerator_type": "accelerator",
    "idle_delete_minutes": "idle_minutes",
    "image": "runtime",
    "init_action": "init_script",
    "instance_profile_arn": "instance_profile",
    "labels": "tags",
    "node": "node_type",
    "policy_id": "policy",
    "single_user_name": "single_user",
    "spark_conf": "conf",
}
# What the command line and `up` take: names of arguments, and the fields of Options.
ARGUMENTS = {
    name
    for each in (
        cluster.cluster, own_node, databricks_spec.request_body, gcloud_command,
        databricks_deployer.connect, dataproc_deployer.connect,
    )
    for name in inspect.signature(each).parameters
}  # fmt: skip
OPTIONS = {each.name for each in fields(Options)}


def variables_of(module):
    return {each.name for each in modules.variables(modules.TERRAFORM / "modules" / module)}


@pytest.mark.parametrize(("module", "column"), [("databricks", 1), ("dataproc", 2)])
def test_the_document_names_exactly_the_variables_that_terraform_alone_has(module, column):
    alone = {each for each in variables_of(module) if IN_PYTHON.get(each, each) not in ARGUMENTS | OPTIONS}
    text = (REPOSITORY / "docs" / "clusters.md").read_text(encoding="utf-8")
    table = text.split("Terraform alone has these variables")[1].split("\n\n")[1].splitlines()[2:]
    assert alone == {name for row in table for name in re.findall(r"`(\w+)`", row.split("|")[column + 1])}


@pytest.mark.parametrize(("module", "platform"), [("databricks", "databricks-aws"), ("dataproc", "dataproc")])
def test_every_option_of_the_command_line_is_a_variable_of_the_module(module, platform):
    names = {IN_PYTHON.get(each, each) for each in variables_of(module)}
    assert {each.name for each in fields(Options) if has_option(each, platform)} <= names


# Type of an option -> a value.
SOME = {
    "bool": True,
    "int": 1,
    "str | None": "given",
    "Mapping[str, str]": {"a": "b"},
    "tuple[str, ...]": ("a",),
}


def has_option(option, platform):
    """Whether a platform has it: what a platform does not have is refused by name."""
    try:
        check_options(Options(**{option.name: SOME[option.type]}), platform)
    except ConfigurationError as refused:
        return f"has no option {option.name}" not in str(refused)
    return True
