"""What differs between the clouds in the commands of a deployment: where they work, and how to connect. Laptop.

Only here the command line meets a cloud's package, inside functions: its SDK is loaded when a command needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from server_utils.cli.deployments import CloudCommands, Given, option
from server_utils.cli.output import print_json

if TYPE_CHECKING:
    from csp.cloud import Cloud, Deployment
    from csp.cloud_session import Session

_DATAPROC_CLUSTER = (
    "zone", "spot_workers", "service_account", "subnetwork", "network_tag", "metadata", "local_ssds", "accelerator",
)  # fmt: skip
_DATABRICKS_CLUSTER = ("zone", "spot", "single_user", "instance_profile")


def _connect_databricks(given: Given) -> Cloud:
    from csp.databricks.deployer import connect

    return connect(
        profile=given["profile"],
        volume=given["volume"],
        policy=given["policy"],
        user=given.get("single_user"),
        owner=given.get("owner"),
    )


def _platform_of_databricks(given: Given, cloud: Any) -> str:
    return f"databricks-{given['cloud'] or cloud.cloud_name()}"


def _connect_dataproc(given: Given) -> Cloud:
    from csp.dataproc.deployer import connect

    return connect(project=given["project"], region=given["region"], bucket=given["bucket"], owner=given.get("owner"))


def _bundle(session: Session, given: Given, deployment: Deployment) -> None:
    """Send the files of nodes, and write databricks.yml: an Asset Bundle with the cluster, and a job per notebook."""
    from csp import deployer
    from csp.databricks import asset_bundle

    path = asset_bundle.write(session.cloud, deployment, given["notebook"] or [], given["to"])
    deployer.send(session, deployment)
    if given["as_json"]:
        print_json({"path": str(path)})
    else:
        typer.echo(path)


DATABRICKS = CloudCommands(
    name="databricks",
    help="Deploy to a Databricks workspace, on AWS, Azure or Google Cloud.",
    where=(
        option("profile", str | None, "Profile of ~/.databrickscfg; default: what the SDK finds."),
        option(
            "volume",
            str | None,
            "Volume for files, models and logs: /Volumes/CATALOG/SCHEMA/NAME.",
            env="SPARK_SIDECAR_VOLUME",
        ),
        option("cloud", str | None, "aws, azure or gcp; default: that of the workspace."),
        option("policy", str | None, "Id of the cluster policy to use."),
    ),
    cluster=_DATABRICKS_CLUSTER,
    connect=_connect_databricks,
    platform=_platform_of_databricks,
    more={
        "bundle": (
            _bundle,
            (
                option("notebook", list[Path] | None, "A notebook (.ipynb) that becomes a job; may be repeated."),
                option("to", Path, "Folder of databricks.yml; the notebooks are in it.", default=Path()),
            ),
        )
    },
)

DATAPROC = CloudCommands(
    name="dataproc",
    help="Deploy to Dataproc, which Google also calls Managed Service for Apache Spark.",
    where=(
        option("project", str | None, "Google Cloud project; default: that of the credentials."),
        option("region", str | None, "Region, such as us-central1.", env="CLOUDSDK_DATAPROC_REGION"),
        option(
            "bucket", str | None, "Name of the bucket for files, models, logs and results.", env="SPARK_SIDECAR_BUCKET"
        ),
    ),
    cluster=_DATAPROC_CLUSTER,
    connect=_connect_dataproc,
    platform=lambda given, cloud: "dataproc",  # noqa: ARG005 - as every cloud's
)

CLOUDS = (DATABRICKS, DATAPROC)
