"""What a provider's schema does not say: what it refuses, what makes it replace a resource, and what it computes.

Each rule names where it was read. Paths go through nested blocks with dots, and mean every block of that name. A value
that is null, empty or not known yet breaks no rule, as in the providers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgpack

Config = dict[str, Any]
_DATABRICKS = "github.com/databricks/terraform-provider-databricks"
_CLUSTER = f"{_DATABRICKS} clusters/resource_cluster.go"
_VOLUME = f"{_DATABRICKS} catalog/resource_volume.go"
_FILE = f"{_DATABRICKS} workspace/file_resource.go, FileContentSchema"
_DATABRICKS_SDK = "databricks-sdk for Python, databricks/sdk/service/compute.py"
_GOOGLE_PROVIDER = "github.com/hashicorp/terraform-provider-google"
_GOOGLE = f"{_GOOGLE_PROVIDER} google/services"
_DATAPROC = f"{_GOOGLE}/dataproc/resource_dataproc_cluster.go"
_BUCKET = f"{_GOOGLE}/storage/resource_storage_bucket.go"
_OBJECT = f"{_GOOGLE}/storage/resource_storage_bucket_object.go"
_TEMPLATE = "docs.cloud.google.com dataproc/docs/reference/rest/v1/projects.regions.workflowTemplates"
_AZURE_BUDGET = (
    "github.com/hashicorp/terraform-provider-azurerm internal/services/consumption/consumption_budget_base.go"
)
_SLEEP = "github.com/hashicorp/terraform-provider-time internal/provider/resource_time_sleep.go"
_AWS_BUDGET = "docs.aws.amazon.com aws-cost-management/latest/APIReference/API_budgets_Notification.html"
_POLICY = "docs.cloud.google.com dataproc/docs/reference/rest/v1/projects.regions.autoscalingPolicies"


@dataclass(frozen=True)
class Rule:
    """`holds` tells whether a configuration of the type keeps the rule; `says` is the provider's complaint."""

    kind: str
    says: str
    holds: Callable[[Config], bool]
    source: str
    paths: tuple[str, ...]


def violations(kind: str, config: Config) -> list[str]:
    """What a provider would complain about, for a resource type ("data.…" for a data source)."""
    rules = [rule for rule in RULES if rule.kind == kind and not any(_is_unknown(config, each) for each in rule.paths)]
    return [rule.says for rule in rules if not rule.holds(config)]


def replaced_by(kind: str, prior: Config | None, new: Config) -> list[str]:
    """The top-level names whose change makes the provider destroy the resource and make another."""
    if prior is None:
        return []
    paths = FORCE_NEW.get(kind, ())
    return sorted({each.split(".")[0] for each in paths if values(prior, each) != values(new, each)})


def values(config: Config, path: str) -> list[Any]:
    """What stands at a path: none, one, or one for each block on the way."""
    return [each for each in _at([config], path) if isinstance(each, str | int | float | dict) and each not in ("", {})]


def _at(found: list[Any], path: str) -> list[Any]:
    for name in path.split("."):
        following = [each if _is_mark(each) else each.get(name) for each in found if each is not None]
        found = [each for value in following for each in (value if type(value) is list else [value])]
    return found


def _is_mark(value: Any) -> bool:
    return isinstance(value, msgpack.ExtType)  # what Terraform sends for "not known yet"


def _is_unknown(config: Config, path: str) -> bool:
    return any(_is_mark(each) for each in _at([config], path))


def _one_of(kind: str, path: str, allowed: tuple[str, ...], source: str) -> Rule:
    says = f"expected {path} to be one of {', '.join(allowed)}"
    return Rule(kind, says, lambda config: set(values(config, path)) <= set(allowed), source, (path,))


def _matches(kind: str, path: str, pattern: str, source: str) -> Rule:
    def holds(config: Config) -> bool:
        return all(re.fullmatch(pattern, str(each)) for each in values(config, path))

    return Rule(kind, f"{path} must match {pattern}", holds, source, (path,))


def _between(kind: str, path: str, bounds: tuple[float, float], source: str) -> Rule:
    least, most = bounds

    def holds(config: Config) -> bool:
        return all(least <= each <= most for each in values(config, path))

    return Rule(kind, f"{path} must be from {least:g} to {most:g}", holds, source, (path,))


def _not_both(kind: str, one: str, other: str, source: str) -> Rule:
    def holds(config: Config) -> bool:
        return not (values(config, one) and values(config, other))

    return Rule(kind, f'"{one}": conflicts with {other}', holds, source, (one, other))


def _exactly_one(kind: str, one: str, other: str, source: str) -> Rule:
    def holds(config: Config) -> bool:
        # A source that is not known yet counts: only null is nothing.
        return (config.get(one) is None) != (config.get(other) is None)

    return Rule(kind, f"exactly one of {one}, {other} must be given", holds, source, (one, other))


def _single_node_is_complete(config: Config) -> bool:
    if values(config, "autoscale") or any(each > 0 for each in values(config, "num_workers")):
        return True
    conf, tags = config.get("spark_conf") or {}, config.get("custom_tags") or {}
    return (
        conf.get("spark.databricks.cluster.profile") == "singleNode"
        and str(conf.get("spark.master", "")).startswith("local")
        and tags.get("ResourceClass") == "SingleNode"
    )


def _worker_count_is_allowed(config: Config) -> bool:
    counts = [each for each in values(config, "cluster_config.worker_config.num_instances") if each == 0]
    properties = (values(config, "cluster_config.software_config.override_properties") or [{}])[0]
    return not counts or properties.get("dataproc:dataproc.allow.zero.workers") == "true"


RULES = [
    _not_both("databricks_cluster", "instance_pool_id", "node_type_id", _CLUSTER),
    _not_both("databricks_cluster", "instance_pool_id", "driver_node_type_id", _CLUSTER),
    _not_both("databricks_cluster", "driver_instance_pool_id", "node_type_id", _CLUSTER),
    _not_both("databricks_cluster", "driver_instance_pool_id", "driver_node_type_id", _CLUSTER),
    _not_both("databricks_cluster", "aws_attributes", "azure_attributes", _CLUSTER),
    _not_both("databricks_cluster", "aws_attributes", "gcp_attributes", _CLUSTER),
    _not_both("databricks_cluster", "azure_attributes", "gcp_attributes", _CLUSTER),
    _not_both("databricks_cluster", "autoscale", "num_workers", f"{_DATABRICKS_SDK}, ClusterSpec"),
    _one_of("databricks_cluster", "runtime_engine", ("PHOTON", "STANDARD"), _CLUSTER),
    _between("databricks_cluster", "num_workers", (0, 100_000), _CLUSTER),
    Rule(
        "databricks_cluster",
        "NumWorkers could be 0 only for SingleNode clusters",
        _single_node_is_complete,
        f"{_CLUSTER}, Validate",
        ("num_workers", "spark_conf", "custom_tags"),
    ),
    _one_of(
        "databricks_cluster",
        "data_security_mode",
        (
            "DATA_SECURITY_MODE_AUTO",
            "DATA_SECURITY_MODE_DEDICATED",
            "DATA_SECURITY_MODE_STANDARD",
            "LEGACY_PASSTHROUGH",
            "LEGACY_SINGLE_USER",
            "LEGACY_SINGLE_USER_STANDARD",
            "LEGACY_TABLE_ACL",
            "NONE",
            "SINGLE_USER",
            "USER_ISOLATION",
        ),
        f"{_DATABRICKS_SDK}, DataSecurityMode",
    ),
    _one_of(
        "databricks_cluster",
        "aws_attributes.availability",
        ("ON_DEMAND", "SPOT", "SPOT_WITH_FALLBACK"),
        f"{_DATABRICKS_SDK}, AwsAvailability",
    ),
    _one_of(
        "databricks_cluster",
        "azure_attributes.availability",
        ("ON_DEMAND_AZURE", "SPOT_AZURE", "SPOT_WITH_FALLBACK_AZURE"),
        f"{_DATABRICKS_SDK}, AzureAvailability",
    ),
    _one_of(
        "databricks_cluster",
        "gcp_attributes.availability",
        ("ON_DEMAND_GCP", "PREEMPTIBLE_GCP", "PREEMPTIBLE_WITH_FALLBACK_GCP"),
        f"{_DATABRICKS_SDK}, GcpAvailability",
    ),
    _matches(
        "databricks_cluster",
        "init_scripts.volumes.destination",
        "(dbfs:)?/Volumes/[^/]+/[^/]+/[^/]+/.+",
        f"{_DATABRICKS_SDK}, VolumesStorageInfo",
    ),
    _exactly_one("databricks_file", "source", "content_base64", _FILE),
    _matches("databricks_file", "path", "/Volumes/[^/]+/[^/]+/[^/]+/.+", f"{_DATABRICKS} docs/resources/file.md"),
    _exactly_one("databricks_notebook", "source", "content_base64", _FILE),
    _matches(
        "databricks_notebook", "path", "/.+", f"{_DATABRICKS} workspace/resource_notebook.go, ValidateNotebookPath"
    ),
    _one_of("databricks_volume", "volume_type", ("EXTERNAL", "MANAGED"), f"{_DATABRICKS} docs/resources/volume.md"),
    _matches("google_dataproc_cluster", "name", "[a-z]([a-z0-9-]{0,53}[a-z0-9])?", _DATAPROC),
    _not_both(
        "google_dataproc_cluster",
        "cluster_config.gce_cluster_config.network",
        "cluster_config.gce_cluster_config.subnetwork",
        _DATAPROC,
    ),
    _matches(
        "google_dataproc_cluster",
        "cluster_config.gce_cluster_config.service_account_scopes",
        "https://www.googleapis.com/auth/.+",
        "github.com/hashicorp/terraform-provider-google issue 14956: an alias makes a new cluster at every apply",
    ),
    _one_of(
        "google_dataproc_cluster",
        "cluster_config.preemptible_worker_config.preemptibility",
        ("NON_PREEMPTIBLE", "PREEMPTIBILITY_UNSPECIFIED", "PREEMPTIBLE", "SPOT"),
        _DATAPROC,
    ),
    _between(
        "google_dataproc_cluster", "cluster_config.worker_config.disk_config.boot_disk_size_gb", (10, 65_536), _DATAPROC
    ),
    _between(
        "google_dataproc_cluster", "cluster_config.master_config.disk_config.boot_disk_size_gb", (10, 65_536), _DATAPROC
    ),
    _matches(
        "google_dataproc_cluster",
        "cluster_config.lifecycle_config.idle_delete_ttl",
        r"\d+(\.\d{1,9})?s",
        f"{_GOOGLE_PROVIDER} website/docs/r/dataproc_cluster.html.markdown, lifecycle_config",
    ),
    _matches(
        "google_dataproc_cluster",
        "cluster_config.initialization_action.script",
        "gs://[^/]+/.+",
        f"{_GOOGLE_PROVIDER} website/docs/r/dataproc_cluster.html.markdown, initialization_action",
    ),
    Rule(
        "google_dataproc_cluster",
        "no workers: dataproc:dataproc.allow.zero.workers must be true",
        _worker_count_is_allowed,
        f"{_GOOGLE_PROVIDER} website/docs/r/dataproc_cluster.html.markdown, worker_config.num_instances",
        ("cluster_config.worker_config.num_instances", "cluster_config.software_config.override_properties"),
    ),
    _matches(
        "google_dataproc_workflow_template",
        "placement.managed_cluster.cluster_name",
        "[a-z][a-z0-9-]{0,33}[a-z0-9]",
        f"{_TEMPLATE}, ManagedCluster",
    ),
    _matches(
        "google_dataproc_workflow_template",
        "placement.managed_cluster.config.gce_cluster_config.service_account_scopes",
        "https://www.googleapis.com/auth/.+",
        f"{_TEMPLATE}, GceClusterConfig",
    ),
    _matches("google_dataproc_workflow_template", "dag_timeout", r"\d+(\.\d{1,9})?s", _TEMPLATE),
    _between("google_dataproc_workflow_template", "jobs.scheduling.max_failures_per_hour", (0, 10), _TEMPLATE),
    _matches(
        "google_billing_budget",
        "budget_filter.projects",
        r"projects/\d+",
        f"{_GOOGLE_PROVIDER} website/docs/r/billing_budget.html.markdown: by number",
    ),
    _one_of("aws_budgets_budget", "notification.notification_type", ("ACTUAL", "FORECASTED"), _AWS_BUDGET),
    _one_of("aws_budgets_budget", "notification.threshold_type", ("PERCENTAGE", "ABSOLUTE_VALUE"), _AWS_BUDGET),
    _one_of(
        "aws_budgets_budget",
        "notification.comparison_operator",
        ("GREATER_THAN", "LESS_THAN", "EQUAL_TO"),
        _AWS_BUDGET,
    ),
    _matches(
        "azurerm_consumption_budget_subscription",
        "time_period.start_date",
        r"\d{4}-\d{2}-01T00:00:00Z",
        _AZURE_BUDGET,
    ),
    _matches(
        "azurerm_consumption_budget_subscription", "subscription_id", r"/subscriptions/[0-9a-f-]{36}", _AZURE_BUDGET
    ),
    _one_of(
        "azurerm_consumption_budget_subscription",
        "notification.operator",
        ("EqualTo", "GreaterThan", "GreaterThanOrEqualTo"),
        _AZURE_BUDGET,
    ),
    _between("azurerm_consumption_budget_subscription", "notification.threshold", (0, 1000), _AZURE_BUDGET),
    _matches("time_sleep", "create_duration", r"\d+(\.\d+)?(ms|s|m|h)", _SLEEP),
    _matches("google_dataproc_autoscaling_policy", "policy_id", "[A-Za-z0-9][A-Za-z0-9_-]{1,48}[A-Za-z0-9]", _POLICY),
    _between("google_dataproc_autoscaling_policy", "basic_algorithm.yarn_config.scale_up_factor", (0, 1), _POLICY),
    _between("google_dataproc_autoscaling_policy", "basic_algorithm.yarn_config.scale_down_factor", (0, 1), _POLICY),
    _between("google_dataproc_autoscaling_policy", "worker_config.min_instances", (2, 100_000), _POLICY),
    _matches(
        "google_storage_bucket",
        "name",
        "[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]",
        "docs.cloud.google.com storage/docs/buckets, naming",
    ),
    _one_of("google_storage_bucket", "public_access_prevention", ("enforced", "inherited"), f"{_BUCKET} and its page"),
    _one_of("google_storage_bucket", "lifecycle_rule.condition.with_state", ("ANY", "ARCHIVED", "LIVE"), _BUCKET),
    _exactly_one("google_storage_bucket_object", "source", "content", _OBJECT),
    _matches(
        "google_service_account",
        "account_id",
        "[a-z]([-a-z0-9]{4,28}[a-z0-9])",
        f"{_GOOGLE}/resourcemanager/resource_google_service_account.go, ValidateRFC1035Name(6, 30)",
    ),
    _matches(
        "google_project_iam_member",
        "member",
        "(user|group|serviceAccount|domain|principal|principalSet):.+",
        "docs.cloud.google.com iam/docs/principal-identifiers",
    ),
]

# A change of one of these and the provider makes another resource (ForceNew in the sources named above).
FORCE_NEW = {
    "databricks_cluster": ("idempotency_token",),
    "databricks_file": ("path",),
    "databricks_notebook": ("path",),
    "databricks_schema": ("catalog_name",),
    "databricks_volume": ("catalog_name", "schema_name", "storage_location", "volume_type"),
    "google_dataproc_autoscaling_policy": ("location", "policy_id", "project"),
    "google_dataproc_cluster": (
        "name",
        "project",
        "region",
        "cluster_config.encryption_config",
        "cluster_config.gce_cluster_config",
        "cluster_config.initialization_action",
        "cluster_config.master_config.machine_type",
        "cluster_config.software_config",
        "cluster_config.staging_bucket",
        "cluster_config.worker_config.machine_type",
    ),
    "google_dataproc_workflow_template": ("jobs", "location", "name", "placement", "project"),
    "google_service_account": ("account_id", "project"),
    "google_cloud_scheduler_job": ("name", "project", "region"),
    "google_billing_budget": ("billing_account",),
    "aws_budgets_budget": ("name",),
    "azurerm_consumption_budget_subscription": ("name", "subscription_id"),
    "time_sleep": ("triggers",),
    "google_storage_bucket": ("location", "name", "project"),
    "google_storage_bucket_object": ("bucket", "name", "source"),
}

# What only the provider can decide and our modules go on with. Everything else computed becomes a made-up word.
COMPUTED = {
    "data.databricks_catalogs": {"ids": ["main", "samples", "system"]},
    "data.databricks_current_config": {"cloud_type": "aws", "host": "https://example.cloud.databricks.com"},
    "data.databricks_current_user": {"user_name": "someone@example.com", "home": "/Users/someone@example.com"},
    "data.google_project": {"number": "123456789012"},
    "data.google_storage_project_service_account": {
        "email_address": "service-123456789012@gs-project-accounts.iam.gserviceaccount.com"
    },
    "databricks_schema": {"id": "{catalog_name}.{name}"},
    "databricks_volume": {
        "id": "{catalog_name}.{schema_name}.{name}",
        "volume_path": "/Volumes/{catalog_name}/{schema_name}/{name}",
    },
    "google_compute_network": {"id": "projects/{project}/global/networks/{name}"},
    "google_compute_subnetwork": {"id": "projects/{project}/regions/{region}/subnetworks/{name}"},
    "google_dataproc_autoscaling_policy": {
        "id": "projects/{project}/locations/{location}/autoscalingPolicies/{policy_id}",
        "name": "projects/{project}/locations/{location}/autoscalingPolicies/{policy_id}",
    },
    "google_dataproc_cluster": {"id": "projects/{project}/regions/{region}/clusters/{name}"},
    "google_service_account": {
        "email": "{account_id}@{project}.iam.gserviceaccount.com",
        "member": "serviceAccount:{account_id}@{project}.iam.gserviceaccount.com",
    },
    "google_storage_bucket": {"id": "{name}", "url": "gs://{name}"},
    "google_storage_bucket_object": {"id": "{bucket}-{name}", "self_link": "gs://{bucket}/{name}"},
}
