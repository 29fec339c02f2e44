"""What a cluster has beside its nodes and Spark settings: spot, zone, tags, accounts, network. Laptop and driver.

Only what a platform would refuse, or would take and do something else with, is refused here; each message has the fix.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from server_utils.clusters.tags import check_tags
from server_utils.errors import ConfigurationError
from server_utils.host.redaction import has_password, is_secret

IDLE_MINUTES = 60
_DATABRICKS, _DATAPROC = "databricks-", "dataproc"
# Option -> how the names of the platforms begin that have it, and what is there instead on the others.
_PLATFORMS = {
    "instance_profile": ("databricks-aws", "an instance profile is AWS's"),
    "local_ssds": (_DATAPROC, "node types of Databricks have the disks that they have"),
    "log_folder": (_DATABRICKS, "on dataproc, logs go to the staging bucket"),
    "metadata": (_DATAPROC, "init scripts of Databricks read variables: give env"),
    "network_tags": (_DATAPROC, "the workspace decides the network"),
    "service_account": (_DATAPROC, "nodes of Databricks run as the cluster's user"),
    "single_user": (_DATABRICKS, "on dataproc, nodes run as a service account"),
    "spot": (_DATABRICKS, "on dataproc, primary workers are never spot: give spot_workers"),
    "spot_workers": (_DATAPROC, "on Databricks all workers are of one kind: give spot"),
    "staging_bucket": (_DATAPROC, "Databricks needs none"),
    "subnetwork": (_DATAPROC, "the workspace decides the network"),
}
_ZONES = {"databricks-aws": r"[a-z]{2}(-[a-z]+)+-\d[a-z]", "databricks-gcp": r"[a-z]+-[a-z]+\d+-[a-z]"}
_ZONES["dataproc"] = _ZONES["databricks-gcp"]
_SSD_COUNTS = (0, 1, 2, 4, 8, 16, 24)
_IDLE_MINUTES = {_DATABRICKS: (10, 10_000), _DATAPROC: (5, 20_160)}
_SECRET_REFERENCE = re.compile(r"\{\{secrets/[^/]+/[^/]+\}\}")


@dataclass(frozen=True)
class Options:
    """What the platform decides where it is None, empty, False or 0.

    Attributes:
        spot: Databricks: whether workers are spot, and on demand where there is no spot capacity. The driver never is.
        spot_workers: Dataproc: secondary workers, which are spot, in addition to the primary ones.
        zone: of all nodes. Dataproc ignores GPUs when it chooses one.
        tags: custom tags on Databricks, labels on Dataproc.
        log_folder: Databricks: folder in a volume for the logs of driver, workers and init scripts.
        single_user: Databricks: user, group or service principal that the cluster is dedicated to; None: its creator.
        instance_profile: Databricks on AWS: ARN of the profile with which nodes access S3.
        service_account: Dataproc: e-mail of the account that nodes run as.
        subnetwork: Dataproc: name or path.
        network_tags: Dataproc: for firewall rules.
        local_ssds: Dataproc: NVMe disks of each worker, of 375 GB, for downloaded models.
        staging_bucket: Dataproc: name of the bucket for job output and notebooks.
        metadata: Dataproc: of the instances; the init script reads from it, as in HTTPS_PROXY and spark-sidecar-logs.
        idle_minutes: minutes without work after which the cluster ends; 0 for never.
    """

    spot: bool = False
    spot_workers: int = 0
    zone: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    log_folder: str | None = None
    single_user: str | None = None
    instance_profile: str | None = None
    service_account: str | None = None
    subnetwork: str | None = None
    network_tags: tuple[str, ...] = ()
    local_ssds: int = 0
    staging_bucket: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    idle_minutes: int = IDLE_MINUTES


def check_options(options: Options, platform: str) -> None:
    """Refuse options that the platform does not have, and values that it does not take.

    Raises:
        ConfigurationError: with what is wrong, what it is now, and what to do.
    """
    for each in fields(options):
        start, instead = _PLATFORMS.get(each.name, ("", ""))
        if getattr(options, each.name) and not platform.startswith(start):
            raise ConfigurationError(f"{platform} has no option {each.name}: {instead}; leave it out")
    _check_zone(options.zone, platform)
    _check_idle(options.idle_minutes, platform)
    check_tags(options.tags, platform)
    _check_logs(options.log_folder)
    _check_accounts(options)
    _check_secrets(options.metadata, platform)


def check_settings(conf: Mapping[str, str], env: Mapping[str, str], platform: str) -> None:
    """Refuse Spark settings and variables that are misplaced or that would show a secret.

    Raises:
        ConfigurationError: with the name, and where it belongs.
    """
    for key in conf:
        if not key.startswith("spark."):
            raise ConfigurationError(f"{key!r} is no Spark setting: these begin with 'spark.'; variables go into env")
    for key in env:
        if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", key):
            raise ConfigurationError(
                f"{key!r} is no name of a variable: letters, digits and _ only; a Spark setting goes into conf"
            )
    _check_secrets({**conf, **env}, platform)


def check_downloads(settings: Mapping[str, str], platform: str) -> None:
    """Refuse variables of the init script's settings file that would show a secret, or that no file can resolve.

    Raises:
        ConfigurationError: with the name, and where it belongs.
    """
    check_settings({}, settings, platform)
    for name, value in settings.items():
        if "{{secrets/" in value:
            raise ConfigurationError(
                f"{name} is a reference to a secret, which a file cannot resolve; give it as --env {name}=… instead"
            )


def _check_secrets(values: Mapping[str, str], platform: str) -> None:
    """Refuse what is a secret by its name, or by the user and password in its address. No message shows a value."""
    for key, value in values.items():
        if is_secret(key):
            _check_secret(f"the value of {key} would be readable in Spark's UI", value, platform)
        elif has_password(value):
            _check_secret(f"{key} has an address with a password or token, which would be readable", value, platform)


def _check_secret(readable: str, value: str, platform: str) -> None:
    if platform == _DATAPROC:
        raise ConfigurationError(
            f"{readable}; let the job read it from Secret Manager, as the service account, or use a package index or "
            "proxy that knows the nodes by their network"
        )
    if not _SECRET_REFERENCE.fullmatch(value):
        raise ConfigurationError(f"{readable}; give a reference such as {{{{secrets/scope/key}}}}")


def _check_zone(zone: str | None, platform: str) -> None:
    if zone is None:
        return
    if platform not in _ZONES:
        raise ConfigurationError(f"{platform} takes no zone, but it is {zone!r}: Azure chooses one; leave it out")
    if not re.fullmatch(_ZONES[platform], zone):
        example = "us-east-1a" if platform == "databricks-aws" else "us-central1-a"
        raise ConfigurationError(f"{zone!r} is no zone of {platform}; give one such as {example}, not a region")


def _check_idle(minutes: int, platform: str) -> None:
    least, most = _IDLE_MINUTES[_DATAPROC if platform == _DATAPROC else _DATABRICKS]
    if minutes and not least <= minutes <= most:
        raise ConfigurationError(f"idle_minutes is {minutes}; {platform} takes {least} to {most}, or 0 for never")


def _check_logs(folder: str | None) -> None:
    if folder is not None and not re.match(r"/Volumes/[^/]+/[^/]+/[^/]+", folder):
        raise ConfigurationError(f"log_folder is {folder!r}; give one in a volume: /Volumes/catalog/schema/volume/logs")


def _check_accounts(options: Options) -> None:
    account, bucket, profile = options.service_account, options.staging_bucket, options.instance_profile
    if account is not None and not re.fullmatch(r"[^@]+@[^@]+\.gserviceaccount\.com", account):
        raise ConfigurationError(
            f"service_account is {account!r}; give an e-mail, name@project.iam.gserviceaccount.com"
        )
    if account is not None and account.endswith("-compute@developer.gserviceaccount.com"):
        raise ConfigurationError(f"{account} is the project's default account, with far too many permissions; make one")
    if bucket is not None and not re.fullmatch("[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", bucket):
        raise ConfigurationError(f"staging_bucket is {bucket!r}; give the bucket's name alone, without gs://")
    if profile is not None and not re.fullmatch(r"arn:aws[a-z-]*:iam::\d{12}:instance-profile/.+", profile):
        raise ConfigurationError(
            f"instance_profile is {profile!r}; give its ARN, such as arn:aws:iam::123456789012:instance-profile/name"
        )
    if options.local_ssds not in _SSD_COUNTS:
        counts = ", ".join(map(str, _SSD_COUNTS))
        raise ConfigurationError(f"local_ssds is {options.local_ssds}; a machine of Google Cloud takes {counts}")
    if options.spot_workers < 0:
        raise ConfigurationError(f"spot_workers is {options.spot_workers}; give a whole number, 0 for none")
