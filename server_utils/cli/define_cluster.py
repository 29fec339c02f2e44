"""The command `cluster`: the definition of a cluster, for Databricks or for gcloud. Laptop; starts nothing."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server_utils.cli.output import AsJson, print_json
from server_utils.errors import ConfigurationError

if TYPE_CHECKING:
    from server_utils.clusters.catalogue import Node
    from server_utils.clusters.cluster import Cluster

_PAIR = "KEY=VALUE"
_BUNDLE = "SPARK_SIDECAR_BUNDLE"
_NUMBERS = ("gpus", "vcpus", "ram_gib", "gpu_memory_gib")
# Options of the command that are fields of `Options` by the same name.
_OPTIONS = (
    "spot",
    "spot_workers",
    "zone",
    "log_folder",
    "single_user",
    "instance_profile",
    "service_account",
    "subnetwork",
    "local_ssds",
    "staging_bucket",
    "idle_minutes",
)
Pairs = list[str] | None


def cluster(
    platform: Annotated[str, typer.Argument(help="The platform, such as databricks-aws or dataproc.")],
    shape: Annotated[str | None, typer.Argument(help="The nodes, such as a10x1: see `spark-sidecar shapes`.")] = None,
    *,
    framework: Annotated[str, typer.Option(help="The framework of the servers, such as vllm.")],
    workers: Annotated[int, typer.Option(help="Number of worker nodes; 0 for a single node.")] = 2,
    name: Annotated[str, typer.Option(help="Name of the cluster.")] = "spark-sidecar",
    runtime: Annotated[str | None, typer.Option(help="Databricks runtime or Dataproc image.")] = None,
    init_script: Annotated[str | None, typer.Option(help="Path of the init script: /Volumes/... or gs://...")] = None,
    bundle: Annotated[str | None, typer.Option(help="Folder that the init script installs from.")] = None,
    rapids: Annotated[bool, typer.Option("--rapids", help="Add the RAPIDS Accelerator for Spark SQL.")] = False,
    conf: Annotated[Pairs, typer.Option(metavar=_PAIR, help="Set a Spark setting; may be repeated.")] = None,
    env: Annotated[Pairs, typer.Option(metavar=_PAIR, help="Set a variable; may be repeated.")] = None,
    tag: Annotated[Pairs, typer.Option(metavar=_PAIR, help="Set a tag or label; may be repeated.")] = None,
    spot: Annotated[bool, typer.Option("--spot", help="Databricks: workers on spot, the driver on demand.")] = False,
    spot_workers: Annotated[int, typer.Option(help="Dataproc: more workers, which are spot.")] = 0,
    zone: Annotated[str | None, typer.Option(help="Zone of the nodes.")] = None,
    log_folder: Annotated[str | None, typer.Option(help="Databricks: folder of the logs, /Volumes/...")] = None,
    single_user: Annotated[str | None, typer.Option(help="Databricks: whom the cluster is dedicated to.")] = None,
    instance_profile: Annotated[str | None, typer.Option(help="Databricks on AWS: ARN of the profile for S3.")] = None,
    service_account: Annotated[str | None, typer.Option(help="Dataproc: e-mail that nodes run as.")] = None,
    subnetwork: Annotated[str | None, typer.Option(help="Dataproc: subnetwork of the nodes.")] = None,
    network_tag: Annotated[Pairs, typer.Option(metavar="TAG", help="Dataproc: for firewalls; may be repeated.")] = None,
    staging_bucket: Annotated[str | None, typer.Option(help="Dataproc: bucket for output and notebooks.")] = None,
    metadata: Annotated[Pairs, typer.Option(metavar=_PAIR, help="Dataproc: for the nodes; may be repeated.")] = None,
    local_ssds: Annotated[int, typer.Option(help="Dataproc: NVMe disks of each worker.")] = 0,
    idle_minutes: Annotated[int, typer.Option(help="End the cluster after so long without work; 0: never.")] = 60,
    node_type: Annotated[str | None, typer.Option(help="Instead of SHAPE: a node type of your own choice.")] = None,
    gpus: Annotated[int, typer.Option(help="With --node-type: GPUs of a node.")] = 0,
    vcpus: Annotated[int, typer.Option(help="With --node-type: vCPUs of a node.")] = 0,
    ram_gib: Annotated[int, typer.Option(help="With --node-type: memory of a node.")] = 0,
    gpu_memory_gib: Annotated[int, typer.Option(help="With --node-type: memory of one GPU.")] = 0,
    accelerator: Annotated[str | None, typer.Option(help="With --node-type on Dataproc: GPU type to attach.")] = None,
    allow_undocumented: Annotated[bool, typer.Option("--allow-undocumented", help="Take any SHAPE there is.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the definition of a cluster: JSON for Databricks, a gcloud command for Dataproc.

    Databricks: save it, then run `databricks clusters create --json @FILE`. Dataproc: run it; --json prints its words.
    """
    _print(defined(locals()), name=name, init_script=init_script, bundle=bundle, as_json=as_json)


def pairs(texts: Sequence[str], *, option: str) -> dict[str, str]:
    """Return KEY=VALUE words as a dict.

    Raises:
        ConfigurationError: if one has no key or no equals sign; the message names the option.
    """
    parsed = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise ConfigurationError(f"{option} takes KEY=VALUE, not {text!r}")
        parsed[key] = value
    return parsed


def defined(given: Mapping[str, Any]) -> Cluster:
    """The cluster that the options of the command describe."""
    from server_utils.clusters import cluster as clusters_cluster
    from server_utils.clusters.options import Options

    return clusters_cluster.cluster(
        given["platform"],
        _own_node(given) if given["node_type"] is not None else _shape(given),
        given["framework"],
        workers=given["workers"],
        runtime=given["runtime"],
        rapids=given["rapids"],
        conf=pairs(given["conf"] or [], option="--conf"),
        env=pairs(given["env"] or [], option="--env"),
        options=Options(
            tags=pairs(given["tag"] or [], option="--tag"),
            metadata=pairs(given["metadata"] or [], option="--metadata"),
            network_tags=tuple(given["network_tag"] or ()),
            **{name: given[name] for name in _OPTIONS},
        ),
        allow_undocumented=given["allow_undocumented"],
    )


def _shape(given: Mapping[str, Any]) -> str:
    if numbers := [name for name in (*_NUMBERS, "accelerator") if given[name]]:
        raise ConfigurationError(f"{_flag(numbers[0])} describes a node of your own: give --node-type, and no SHAPE")
    if given["shape"] is None:
        raise ConfigurationError("give a SHAPE (`spark-sidecar shapes` lists them), or --node-type with its numbers")
    return str(given["shape"])


def _own_node(given: Mapping[str, Any]) -> Node:
    from server_utils.clusters.catalogue import own_node

    if given["shape"] is not None:
        raise ConfigurationError(f"--node-type stands instead of a SHAPE; leave out {given['shape']}, or --node-type")
    if missing := [_flag(name) for name in _NUMBERS if not given[name]]:
        raise ConfigurationError(f"--node-type is looked up nowhere; also give {', '.join(missing)}")
    numbers = {name: given[name] for name in _NUMBERS}
    return own_node(given["platform"], given["node_type"], accelerator=given["accelerator"], **numbers)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _print(cluster: Cluster, *, name: str, init_script: str | None, bundle: str | None, as_json: bool) -> None:
    """Print the definition on standard output, and what may not work on standard error."""
    from csp.databricks import cluster_spec as databricks_spec
    from csp.dataproc.gcloud_command import gcloud_command
    from server_utils.clusters.cluster import driver_warning

    on_dataproc = cluster.node.platform == "dataproc"
    named = cluster.options.metadata.get("spark-sidecar-bundle") if on_dataproc else cluster.env.get(_BUNDLE)
    _check_bundle(init_script, bundle or named)
    warnings = [driver_warning(cluster), None if on_dataproc else databricks_spec.init_script_warning(init_script)]
    for warning in filter(None, warnings):
        typer.echo(f"warning: {warning}", err=True)
    if on_dataproc:
        words = gcloud_command(cluster, name=name, init_script=init_script, bundle=bundle)
        _print_gcloud(words, as_json=as_json)
    else:
        print_json(databricks_spec.request_body(cluster, name=name, init_script=init_script, bundle=bundle))


def _check_bundle(init_script: str | None, bundle: str | None) -> None:
    """Refuse an init script with nothing to install from: it would end with an error, on a node that costs money."""
    if init_script and not bundle:
        raise ConfigurationError(
            f"the init script {init_script} installs from a bundle, and none is given; add --bundle with the folder "
            "that `spark-sidecar wheelhouse build --to` made"
        )


def _print_gcloud(words: list[str], *, as_json: bool) -> None:
    """Print the command for a shell, one flag per line, or its words as JSON."""
    if as_json:
        print_json(words)
    else:
        command, flags = words[:5], words[5:]
        typer.echo(" \\\n  ".join([shlex.join(command), *map(shlex.quote, flags)]))
