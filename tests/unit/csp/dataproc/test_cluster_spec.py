"""The request for a cluster is the one that gcloud makes of our command, field for field.

Every shape and framework is compared without gcloud, by the command's flags; two clusters by the real gcloud.
"""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace

import pytest
from google.cloud import dataproc_v1
from google.protobuf import json_format
from support.gcloud_flags import differences, flags

from csp.dataproc.cluster_spec import Place, create_request
from csp.dataproc.gcloud_command import gcloud_command
from server_utils.clusters.catalogue import nodes
from server_utils.clusters.cluster import cluster, frameworks, runtimes
from server_utils.clusters.options import Options
from server_utils.errors import ConfigurationError
from unit.csp.dataproc.test_gcloud_command import RefusingDataproc, read_by_gcloud

SCRIPT, BUNDLE = "gs://b/dataproc.sh", "gs://b/bundle"
SPOT = Options(zone="us-central1-b", spot_workers=2, local_ssds=1, network_tags=("a", "b"), staging_bucket="files")
SINGLE = Options(zone="us-central1-b", tags={"team": "a"}, staging_bucket="files", idle_minutes=0,
                 service_account="nodes@p.iam.gserviceaccount.com")  # fmt: skip


@pytest.fixture
def dataproc():
    endpoint = RefusingDataproc()
    yield endpoint
    endpoint.close()


def request_of(defined, **labels):
    place = Place("p", "us-central1", "files")
    return create_request(
        defined, name="mine", place=place, init_script=SCRIPT, bundle=BUNDLE, labels=labels, metadata={}
    )


def body_of(request):
    """What Google's library would send."""
    return json_format.MessageToDict(dataproc_v1.Cluster.pb(dataproc_v1.Cluster(request["cluster"])))


def flat(value, path=""):
    """Path of a field -> its value. gcloud sends zeros and empty objects, for which the library sends nothing."""
    if isinstance(value, list) and not all(isinstance(each, dict) for each in value):
        return {path: sorted(value)}
    if isinstance(value, dict | list):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: each for name, part in parts for key, each in flat(part, f"{path}/{name}").items()}
    return {path: str(value).lower()} if value else {}


# Every option, and those alone without which gcloud takes region and bucket from elsewhere.
EVERY = Options(zone="us-central1-b", tags={"team": "a"}, service_account="nodes@p.iam.gserviceaccount.com",
                subnetwork="spark", network_tags=("b", "a"), staging_bucket="files", idle_minutes=30,
                metadata={"spark-sidecar-logs": "gs://b/logs"})  # fmt: skip
PLAIN = Options(zone="us-central1-b", staging_bucket="files")
# Nodes that are sold as spot only are no primary workers.
SOLD = [each for each in nodes("dataproc") if not each.spot_only]


def options_of(row, options, workers):
    """With as many local SSDs as the machine takes, and with spot workers where it can have them."""
    disks = 2 if row.local_ssds is None else sum(row.local_ssds[:1])
    return replace(options, local_ssds=disks, spot_workers=2 if workers and not row.accelerator else 0)


def as_flags(request):
    """A request as the flags of the command that makes it."""
    config = request["cluster"]["config"]
    machines, software = config["gce_cluster_config"], config["software_config"]
    shielded = machines["shielded_instance_config"]
    (action,) = config["initialization_actions"]
    flags = {
        "image-version": software["image_version"],
        "properties": dict(software["properties"]),
        "optional-components": sorted(software["optional_components"]),
        "metadata": machines["metadata"],
        "labels": request["cluster"]["labels"],
        "region": request["region"],
        "zone": machines["zone_uri"],
        "subnet": machines.get("subnetwork_uri"),
        "tags": ",".join(machines.get("tags", [])) or None,
        "service-account": machines.get("service_account"),
        "scopes": ",".join(machines["service_account_scopes"]),
        "bucket": config["config_bucket"],
        "initialization-actions": action["executable_file"],
        "initialization-action-timeout": f"{action['execution_timeout']['seconds']}s",
        "no-address": flag(machines["internal_ip_only"]),
        "shielded-secure-boot": flag(shielded["enable_secure_boot"]),
        "no-shielded-secure-boot": flag(not shielded["enable_secure_boot"]),
        "shielded-vtpm": flag(shielded["enable_vtpm"]),
        "shielded-integrity-monitoring": flag(shielded["enable_integrity_monitoring"]),
        "enable-component-gateway": flag(config["endpoint_config"]["enable_http_port_access"]),
        **groups_as_flags(config),
    }
    # gcloud makes this property of --single-node, and refuses it beside.
    zero_workers = flags["properties"].pop("dataproc:dataproc.allow.zero.workers", "false")
    assert (zero_workers == "true") == ("single-node" in flags)
    if "lifecycle_config" in config:
        flags["delete-max-idle"] = f"{config['lifecycle_config']['idle_delete_ttl']['seconds'] // 60}m"
    return {key: value for key, value in flags.items() if value is not None}


def flag(given):
    """The value of a flag without one, as "--no-address" is."""
    return "" if given else None


def groups_as_flags(config):
    master, worker = config["master_config"], config.get("worker_config")
    assert master["num_instances"] == 1
    flags = group_as_flags("master", master)
    if worker is None:
        return {"single-node": ""} | flags
    flags |= {"num-workers": str(worker["num_instances"])} | group_as_flags("worker", worker)
    if spot := config.get("secondary_worker_config"):
        assert spot["preemptibility"] == "SPOT"
        kind = {"num-secondary-workers": str(spot["num_instances"]), "secondary-worker-type": "spot"}
        flags |= kind | group_as_flags("secondary-worker", spot)
    return flags


def group_as_flags(role, group):
    disk = group["disk_config"]
    flags = {
        f"{role}-boot-disk-size": f"{disk['boot_disk_size_gb']}GB",
        f"{role}-boot-disk-type": disk["boot_disk_type"],
        f"{role}-machine-type": group.get("machine_type_uri"),
    }
    if "num_local_ssds" in disk:
        flags[f"num-{role}-local-ssds"] = str(disk["num_local_ssds"])
        flags[f"{role}-local-ssd-interface"] = disk["local_ssd_interface"]
    for each in group.get("accelerators", []):
        flags[f"{role}-accelerator"] = f"type={each['accelerator_type_uri']},count={each['accelerator_count']}"
    return {key: value for key, value in flags.items() if value is not None}


@pytest.mark.parametrize("options", [PLAIN, EVERY], ids=["plain", "every option"])
@pytest.mark.parametrize("workers", [0, 3])
def test_for_every_shape_and_framework_it_has_the_fields_of_our_gcloud_command(workers, options):
    compared = 0
    for row, framework in itertools.product(SOLD, frameworks()):
        given = options_of(row, options, workers) if options is EVERY else options
        defined = cluster("dataproc", row.shape, framework, workers=workers, options=given, allow_undocumented=True)
        command = gcloud_command(defined, name="mine", init_script=SCRIPT, bundle=BUNDLE)
        assert command[4] == request_of(defined)["cluster"]["cluster_name"]
        assert differences(as_flags(request_of(defined)), flags(command)) == {}, f"{row.shape}/{framework}"
        compared += 1
    assert compared > 100


def test_for_every_image_it_has_the_fields_of_our_gcloud_command():
    for image in runtimes("dataproc"):
        defined = cluster("dataproc", "l4x1", "vllm", runtime=image.name, options=PLAIN)
        command = gcloud_command(defined, name="mine", init_script=SCRIPT, bundle=BUNDLE)
        assert differences(as_flags(request_of(defined)), flags(command)) == {}, image.name


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="no gcloud on this machine")
@pytest.mark.parametrize(
    "defined",
    [
        cluster("dataproc", "l4x1", "vllm", workers=3, options=SPOT),
        cluster("dataproc", "t4x1-small", "vllm", workers=0, runtime="2.3-ubuntu22", options=SINGLE),
    ],
    ids=["spot workers", "a single node without a driver"],
)
def test_it_is_what_gcloud_sends_for_our_command(dataproc, tmp_path, defined):
    command = gcloud_command(defined, name="mine", init_script=SCRIPT, bundle=BUNDLE)
    left_to_the_default = {"/config/masterConfig/numInstances": "1"}
    assert flat(body_of(request_of(defined))) == flat(read_by_gcloud(dataproc, command, tmp_path)) | left_to_the_default


def test_a_label_of_the_deployment_is_added_to_those_of_the_user():
    labels = request_of(cluster("dataproc", "l4x1", "vllm", options=Options(tags={"team": "a"})), own="mine")
    assert labels["cluster"]["labels"] == {"spark-sidecar": "vllm", "team": "a", "own": "mine"}


def test_a_name_that_dataproc_refuses_is_refused_before_any_request():
    place = Place("p", "us-central1", "files")
    with pytest.raises(ConfigurationError, match="is no name of a cluster"):
        create_request(
            cluster("dataproc", "l4x1", "vllm"),
            name="Mine", place=place, init_script=SCRIPT, bundle=BUNDLE, labels={}, metadata={},
        )  # fmt: skip
