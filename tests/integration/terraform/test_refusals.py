"""Broken configurations: each is refused before anything is made, by a message that names the fix."""

from __future__ import annotations

import json
import shutil

import pytest

OWN = {"node_type": "g9.huge", "gpus": 2, "vcpus": 32, "ram_gib": 256, "gpu_memory_gib": 48}
QUARTZ = {"cron": "0 0 3 * * ?", "service_account": "cron@p.iam.gserviceaccount.com"}
PROFILE = {"instance_profile_arn": "arn:aws:iam::123456789012:instance-profile/x"}
GIVEN = {
    "aws-budget": {"amount": 500, "emails": ["a@example.com"]},
    "azure-budget": {
        "subscription_id": "00000000-0000-0000-0000-000000000000",
        "amount": 500,
        "emails": ["a@example.com"],
    },
    "databricks": {"platform": "databricks-aws", "shape": "a10x1", "framework": "vllm"},
    "databricks-assets": {
        "volume": "/Volumes/main/default/files",
        "framework": "vllm",
        "workspace_folder": "/Shared/kit",
    },
    "databricks-job": {"name": "nightly", "cluster_id": "1", "notebook": "/Shared/kit/embeddings"},
    "databricks-grants": {"principal": "team", "catalog": "main", "schema": "default", "write_volumes": ["models"]},
    "databricks-instance-profile": PROFILE,
    "databricks-policy": {"platform": "databricks-aws", "shapes": ["a10x1"]},
    "databricks-pool": {"platform": "databricks-aws", "shape": "a10x1"},
    "databricks-secrets": {"scope": "models"},
    "databricks-schema": {"name": "inference", "create": True},
    "databricks-volume": {"catalog": "main", "schema": "default", "name": "models", "keep": False},
    "dataproc": {
        "project": "project-1",
        "region": "us-central1",
        "zone": "us-central1-a",
        "shape": "l4x1",
        "framework": "vllm",
        "service_account": "kit@project-1.iam.gserviceaccount.com",
        "staging_bucket": "project-1-files",
    },
    "dataproc-account": {"project": "project-1"},
    "dataproc-assets": {"bucket": "project-1-files"},
    "dataproc-job": {"project": "p", "region": "r", "name": "nightly", "cluster": "c", "program": "gs://b/a.py"},
    "dataproc-network": {"project": "project-1", "region": "us-central1"},
    "databricks-budget": {"amount": 500, "emails": ["a@example.com"]},
    "google-budget": {
        "billing_account": "01AB23-45CD67-89EF01",
        "project": "project-1",
        "label": {"name": "team", "value": "inference"},
        "amount": 500,
    },
    "google-services": {"project": "project-1"},
    "kms-grants": {"project": "project-1", "kms_key": "projects/p/locations/l/keyRings/r/cryptoKeys/k"},
    "gcs-bucket": {"project": "project-1", "location": "us-central1", "name": "project-1-models", "keep": True},
}
# Module, what is changed, and words of the message that tell what to do.
REFUSED = [
    ("databricks", {"shape": "a100x2"}, "has no shape 'a100x2'. Choose one of: a100-80x8, a100x8, a10x1"),
    ("databricks", {"framework": "onnx"}, "Choose one of: dynamo, nim, sglang, tf, torch, transformers, triton"),
    ("databricks", {"framework": "nim"}, "Databricks has no container engine for the processes of a cluster. Use VLLM"),
    ("databricks-assets", {"framework": "nim"}, "Use VLLMServerManager with the same model"),
    ("databricks", {"platform": "aws"}, "Choose one of: databricks-aws, databricks-azure, databricks-gcp"),
    ("databricks", {"runtime": "17.3.x-cpu-ml-scala2.13"}, "Choose one of: 15.4.x-gpu-ml-scala2.12"),
    ("databricks", {"driver_node_type": "m5 xlarge"}, "give a node type such as g5.2xlarge"),
    ("databricks", {"workers": 1.5}, "workers is 1.5: give a whole number"),
    ("databricks", {"workers": 3, "autoscale": {"min_workers": 1, "max_workers": 2}}, "leave workers out"),
    ("databricks", {"autoscale": {"min_workers": 3, "max_workers": 2}}, "1 <= min_workers < max_workers"),
    ("databricks", {"shape": "a10x4", "rapids": True}, "set rapids = false, or choose a shape that ends with x1"),
    ("databricks", {"alternative_shapes": ["a10x4"]}, "needs the same 1 GPUs, 16 vCPUs and local disks"),
    ("databricks", {"env": {"HF_TOKEN": "hf_x"}}, "must be a reference such as {{secrets/scope/key}}"),
    ("databricks", {"spark_conf": {"spark.my.password": "x"}}, "must be a reference such as {{secrets/scope/key}}"),
    ("databricks", {"spark_conf": {"spar.x": "x"}}, "these do not: spar.x"),
    ("databricks", {"init_script": "/Workspace/x.sh"}, "give a path such as /Volumes/catalog/schema/volume"),
    ("databricks", {"instance_pool_id": "p", "spot": True}, "set spot = false"),
    ("databricks", {"platform": "databricks-gcp", "shape": "l4x1"} | PROFILE, "is databricks-gcp: leave it out"),
    ("databricks", {"workers": 0, "rapids": True}, "leave driver_node_type, alternative_shapes and rapids out"),
    ("databricks", {"workers": 0, "spot": True}, "its only node is on demand: set spot = false"),
    ("databricks", {"env": {"A": "https://me:x@host"}}, "must be a reference such as {{secrets/scope/key}}"),
    ("databricks", {"idle_minutes": 1}, "Databricks takes 10 to 10000, or 0 for never"),
    ("databricks", {"autoscale": {"min_workers": 2, "max_workers": 2}}, "for a fixed number set autoscale to null"),
    ("databricks", {"shape": "a10x4", "alternative_shapes": ["l4x4"]}, "Choose among: none, leave alternative_shapes"),
    (
        "databricks",
        {"shape": "h100x1"},
        "do not name p5.4xlarge (h100x1), so it may be refused: set allow_undocumented",
    ),
    ("databricks", {"platform": "databricks-gcp", "shape": "h100x1"}, "is sold as spot only: set spot = true"),
    ("databricks", {"node": OWN}, "and node describes another node: leave one of them out"),
    ("databricks", {"shape": None}, "Choose one of: a100-80x8, a100x8, a10x1, a10x1-32cpu"),
    ("databricks", {"shape": None, "node": OWN | {"gpus": 3}}, "node must have a node_type, 1, 2, 4, 8 or 16 gpus"),
    ("databricks", {"zone": "us-east-1"}, "give one such as us-east-1a or us-central1-a, not a region"),
    ("databricks", {"zone": "us-central1-a"}, "which is none of databricks-aws: give one such as us-east-1a"),
    ("databricks", {"platform": "databricks-gcp", "shape": "l4x1", "tags": {"T": "a"}}, "tags are: T=a"),
    ("databricks", {"platform": "databricks-azure", "shape": "t4x1", "zone": "us-east-1a"}, "Azure chooses the zone"),
    ("databricks", {"tags": {"Creator": "me"}}, "sets the tags Creator itself, and a budget would not find yours"),
    (
        "databricks-schema",
        {"catalog": "nowhere"},
        "Catalogs that you may use: main. Set catalog to one of them, or ask",
    ),
    ("databricks-schema", {"catalog": "main.default"}, "`databricks catalogs list` shows the names"),
    ("databricks-schema", {"name": "default"}, "exists in every catalog: set create = false, or give another name"),
    ("databricks-instance-profile", {"iam_role_arn": "models"}, "give one such as arn:aws:iam::123456789012:role/name"),
    ("databricks-policy", {"shapes": ["a10x3"]}, "Choose among: a100-80x8, a100x8, a10x1, a10x1-32cpu"),
    ("databricks-policy", {"budget_tags": {"Vendor": []}}, "and none of ClusterId, ClusterName, Creator, Vendor, Name"),
    ("databricks-policy", {"max_idle_minutes": 5}, "Databricks takes 10 to 10000"),
    ("databricks-pool", {"min_idle": 3, "max_capacity": 2}, "give 0 or more, and not more than max_capacity"),
    ("databricks-pool", {"platform": "databricks-gcp", "shape": "h100x1"}, "and a pool is on demand, because drivers"),
    ("databricks-pool", {"shape": "h100x1"}, "set allow_undocumented = true to try it, or choose another shape"),
    ("databricks-secrets", {"scope": "a/b"}, "give 1 to 128 letters, digits"),
    ("databricks-grants", {"principal": ""}, "give a user's e-mail, a group's name, or the application id"),
    ("databricks-grants", {"write_volumes": ["/Volumes/a/b/c"]}, "give the names of volumes alone, not their paths"),
    ("databricks-assets", {"wheel": "dist/nowhere.whl"}, "run `uv build --wheel`"),
    ("databricks-assets", {"init_script": "nowhere.sh"}, "give the path of one in init_script"),
    ("databricks-assets", {"bundle": "tests"}, "give a folder that `spark-sidecar wheelhouse build` finished"),
    (
        "databricks-assets",
        {"downloads": {"PIP_INDEX_URL": "x"}},
        "the init script reads UV_DEFAULT_INDEX, UV_INDEX_URL",
    ),
    (
        "dataproc-assets",
        {"downloads": {"UV_INDEX_URL": "https://tok@index.example"}},
        "has a password or token, which would be readable",
    ),
    (
        "dataproc-assets",
        {"downloads": {"HTTPS_PROXY": "http://a:b@c"}},
        "a proxy that knows the nodes by their network",
    ),
    ("databricks-job", {"notebook": "embeddings.ipynb"}, "give a workspace path that begins with /"),
    ("databricks-job", {"new_cluster": {"node": "x"}}, "give the output job_cluster of the module databricks"),
    ("databricks-job", {"run_as": "my principal"}, "the application id of a service principal (a UUID, not its name)"),
    ("databricks-job", {"schedule": {"cron": "0 3 * * *"}}, "Quartz wants six fields, with the seconds first"),
    ("databricks-job", {"retries": 0.5}, "give a whole number from 0 to 10"),
    ("databricks-volume", {"schema": "main.default"}, "give its name alone"),
    ("dataproc", {"shape": "a10x1"}, "dataproc has no shape 'a10x1'. Choose one of: a100-80x1"),
    ("dataproc", {"zone": "us-east1-b"}, "give a zone of us-central1 that has the GPUs"),
    ("dataproc", {"workers": 1}, "Dataproc takes 2 or more, or 0 for a single-node cluster"),
    ("dataproc", {"image": "2.3.6-ml-ubuntu22"}, "Choose one of: 2.2-ubuntu22, 2.3-ml-ubuntu22, 2.3-ubuntu22; never"),
    ("dataproc", {"image": "2.3-ubuntu22"}, "has no GPU driver: leave image out, or set driver_init_action"),
    ("dataproc", {"service_account": "1-compute@developer.gserviceaccount.com"}, "not of the project's default one"),
    ("dataproc", {"spark_conf": {"spark:spark.x": "y"}}, "these do not: spark:spark.x"),
    ("dataproc", {"metadata": {"hf-token": "x"}}, "let the job read it from Secret Manager, or use a package index"),
    ("dataproc", {"metadata": {"HTTPS_PROXY": "http://a:b@c"}}, "proxy that knows the nodes by their network"),
    ("dataproc", {"init_action": "https://example.com/x.sh"}, "give a gs:// address"),
    ("dataproc", {"init_action": "gs://b/dataproc.sh"}, "set metadata to the output metadata of the module"),
    ("dataproc", {"init_timeout_s": 60}, "give 600 or more"),
    ("dataproc", {"autoscale": {"max_workers": 1}}, "2 <= min_workers <= max_workers"),
    ("dataproc", {"workers": 8, "autoscale": {"max_workers": 4}}, "they must be within the bounds of autoscale"),
    ("dataproc", {"kms_key": "my-key"}, "give projects/P/locations/L/keyRings/R/cryptoKeys/K"),
    ("dataproc", {"shape": "h100x1"}, "Dataproc's primary workers are never spot: choose another shape"),
    ("dataproc", {"shape": "a100-80x1"}, "set allow_undocumented = true to try it, or choose another shape"),
    ("dataproc", {"shape": "t4x1", "spot_workers": 2}, "choose a shape whose machine type has GPUs of its own"),
    ("dataproc", {"local_ssds": 2}, "local_ssds is 2, but g2-standard-12 takes 0 or 1: give one of these"),
    (
        "dataproc",
        {"shape": "a100-80x1", "allow_undocumented": True, "local_ssds": 1},
        "a2-ultragpu-1g brings its own: leave it out",
    ),
    ("dataproc", {"local_ssds": 3}, "a machine of Google Cloud takes 0, 1, 2, 4, 8, 16 or 24"),
    ("dataproc", {"shape": None, "node": OWN | {"ram_gib": 2}}, "14 ram_gib (of the whole node)"),
    ("dataproc", {"workers": 0, "shape": None, "node": OWN | {"gpus": 1, "ram_gib": 15}}, "16 GiB or more, or workers"),
    ("dataproc-network", {"network": "default"}, "give projects/PROJECT/global/networks/NAME"),
    ("dataproc-network", {"subnetwork": "default"}, "give projects/PROJECT/regions/us-central1/subnetworks/NAME"),
    ("dataproc-network", {"ip_range": "10.0.0.0/30"}, "give a range such as 10.80.0.0/20, not smaller than /28"),
    ("google-services", {"more": ["secretmanager"]}, "give full names, such as secretmanager.googleapis.com"),
    ("kms-grants", {"kms_key": "my-key"}, "give projects/P/locations/L/keyRings/R/cryptoKeys/K"),
    ("dataproc-account", {"roles": ["roles/owner"]}, "name the narrower role that is needed"),
    ("dataproc-assets", {"bucket": "gs://project-1-files"}, "give the bucket's name alone, without gs://"),
    ("dataproc-job", {"program": "gs://b/embeddings.ipynb"}, "give the gs:// address of a .py file"),
    ("dataproc-job", {"cluster": None}, "set new_cluster to the output job_cluster of the module dataproc"),
    ("dataproc-job", {"new_cluster": {"name": "n"}}, "cluster and new_cluster both name a cluster: leave one out"),
    ("dataproc-job", {"schedule": QUARTZ}, "Cloud Scheduler takes five fields"),
    ("dataproc-job", {"timeout_minutes": 5}, "Dataproc takes 10 to 1440"),
    ("dataproc-job", {"retries": 11}, "a whole number from 0 to 10"),
    ("google-services", {"wait_s": 7200}, "give whole seconds from 0 to 1800"),
    ("google-budget", {"billing_account": "mine"}, "gcloud billing projects describe"),
    ("google-budget", {"label": {"name": "Team", "value": "a"}}, "63 lower-case letters"),
    ("aws-budget", {"emails": []}, "give at least one address, or nobody is told"),
    ("aws-budget", {"thresholds": [0.5]}, "give one to five whole percents, from 1 to 1000"),
    ("azure-budget", {"subscription_id": "/subscriptions/x"}, "give the id alone"),
    ("databricks-budget", {"tag": {"name": "team", "values": []}}, "give a name and at least one value"),
    ("gcs-bucket", {"name": "My_Bucket"}, "give 3 to 63 lower-case letters"),
]

# Module, text in its main.tf, what it becomes, and what Terraform or the provider says: that the schemas are looked at.
MUTATIONS = [
    (
        "databricks",
        "spark_env_vars          =",
        "spark_envvars =",
        'An argument named "spark_envvars" is not expected here',
    ),
    ("databricks", "destination = init_scripts", "target = init_scripts", 'The argument "destination" is required'),
    ("databricks", "      volumes {\n", "      dbfz {\n", 'Blocks of type "dbfz" are not expected here'),
    ("databricks", "  cluster_name ", '  state = "x"\n  cluster_name ', "it is decided when the"),
    ("databricks", '= "STANDARD"', '= "TURBO"', "expected runtime_engine to be one of PHOTON, STANDARD"),
    ("databricks", "local.pooled ? null : local.shape.node_type", "local.shape.node_type", "conflicts with node_type"),
    ("dataproc", "num_instances = local.definition.master.count", 'num_instances = "one"', "a number is required"),
    ("dataproc", '"https://www.googleapis.com/auth/cloud-platform"', '"cloud-platform"', "scopes must match"),
    ("dataproc", "= local.defaults.spot", '= "CHEAP"', "preemptibility to be one of"),
    ("gcs-bucket", '"enforced"', '"yes"', "expected public_access_prevention to be one of enforced, inherited"),
    ("gcs-bucket", "location                    = var.location\n", "", 'The argument "location" is required'),
    ("databricks-volume", '"MANAGED"', '"managed"', "expected volume_type to be one of EXTERNAL, MANAGED"),
]


@pytest.fixture(scope="module")
def ready(newest, shared_copy):
    """Name of a module -> its folder, in which plan works."""
    found = {name: shared_copy / "terraform" / "modules" / name for name in GIVEN}
    for each in found.values():
        newest.init(each)
    return found


def test_no_broken_configuration_is_lost():
    """Nothing else fails where a case is taken out: each case tests itself alone. Raise the number with new ones."""
    assert len(REFUSED) >= 103
    assert len({json.dumps(each) for each in REFUSED}) == len(REFUSED)
    assert {module for module, _, _ in REFUSED} == set(GIVEN)


@pytest.mark.parametrize("module", GIVEN)
def test_what_the_cases_start_from_is_accepted(module, newest, ready):
    assert newest.plan(ready[module], **GIVEN[module])["resource_changes"]


@pytest.mark.parametrize(("module", "changed", "words"), REFUSED, ids=lambda value: str(value)[:40])
def test_a_broken_configuration_is_refused_with_its_fix(module, changed, words, newest, ready):
    assert words in newest.refusal(ready[module], **GIVEN[module] | changed)


@pytest.mark.parametrize("mistake", MUTATIONS, ids=lambda value: f"{value[0]}: {value[2][:30]}")
def test_a_mistake_in_a_module_is_found(mistake, newest, ready):
    module, old, new, words = mistake
    # Beside the others, so that the catalogue is where the module looks for it.
    folder = ready[module].with_name("mutated")
    shutil.copytree(ready[module], folder)
    text = (folder / "main.tf").read_text(encoding="utf-8")
    (folder / "main.tf").write_text(text.replace(old, new, 1), encoding="utf-8")
    assert text.count(old) >= 1
    more = {"init_script": "/Volumes/a/b/c/d.sh", "instance_pool_id": "p"} if module == "databricks" else {}
    more |= {"spot_workers": 1} if module == "dataproc" else {}
    assert words in newest.refusal(folder, **GIVEN[module] | more)
    shutil.rmtree(folder)


@pytest.mark.parametrize(("module", "platform"), [("databricks", "databricks-aws"), ("dataproc", "dataproc")])
def test_a_node_without_gpus_in_the_catalogue_is_refused(module, platform, newest, own_copy):
    path = own_copy / "server_utils" / "data" / "clusters.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["platforms"][platform]["shapes"][GIVEN[module]["shape"]]["gpus"] = 0
    path.write_text(json.dumps(content), encoding="utf-8")
    folder = own_copy / "terraform" / "modules" / module
    newest.init(folder)
    assert "has no GPUs: correct the catalogue, server_utils/data/gpus.json" in newest.refusal(folder, **GIVEN[module])


@pytest.mark.parametrize("module", ["databricks-assets", "dataproc-assets"])
@pytest.mark.parametrize(("wheels", "words"), [(0, "There are 0 wheels in dist/"), (2, "There are 2 wheels in dist/")])
def test_without_exactly_one_wheel_the_message_says_how_to_build_it(module, wheels, words, newest, own_copy):
    for each in (own_copy / "dist").glob("*.whl"):
        each.unlink()
    for number in range(wheels):
        (own_copy / "dist" / f"spark_sidecar-0.{number}.0-py3-none-any.whl").touch()
    folder = own_copy / "terraform" / "modules" / module
    newest.init(folder)
    message = newest.refusal(folder, **GIVEN[module])
    assert words in message
    assert "uv build --wheel" in message
