"""What the service refuses in the spec of a cluster, beyond what its types say."""

from __future__ import annotations

from support.databricks_server.refusals import invalid

_ATTRIBUTES = {"aws": "aws_attributes", "azure": "azure_attributes", "gcp": "gcp_attributes"}
_RESERVED_TAGS = {"Vendor", "Creator", "ClusterName", "ClusterId", "Name"}
_MOST_TAGS = 45
_SINGLE_NODE = {"spark.databricks.cluster.profile": "singleNode"}


class Checks:
    """cloud: aws, azure or gcp."""

    def __init__(self, cloud, catalogue, accounts):
        self._cloud, self._catalogue, self._accounts = cloud, catalogue, accounts

    def check(self, spec):
        """Raise Refusal for the first thing that is wrong."""
        self._runtime_and_nodes(spec)
        self._size(spec)
        self._access(spec)
        self._tags(spec.get("custom_tags") or {})
        minutes = spec.get("autotermination_minutes") or 0
        if minutes and not 10 <= minutes <= 10_000:
            raise invalid("The value of autotermination_minutes must be 0, or between 10 and 10000.")
        for cloud, name in _ATTRIBUTES.items():
            if name in spec and cloud != self._cloud:
                raise invalid(f"{name} cannot be specified in a workspace on {self._cloud}.")
        for each in spec.get("init_scripts") or []:
            _check_script(each)

    def _runtime_and_nodes(self, spec):
        version = spec["spark_version"]
        if version not in self._catalogue.runtimes:
            raise invalid(f"Invalid spark version {version}.")
        if not spec.get("node_type_id"):
            raise invalid("Missing required field: node_type_id")
        names = {spec["node_type_id"], spec.get("driver_node_type_id") or spec["node_type_id"]}
        gpus = {self._node(name).gpus > 0 for name in names}
        if gpus == {True, False}:
            raise invalid("The driver and the workers must both be GPU node types, or both not.")
        if "gpu" in version and gpus == {False}:
            raise invalid(f"The Spark version {version} needs a GPU, which node type {spec['node_type_id']} lacks.")
        if spec.get("runtime_engine") == "PHOTON" and gpus == {True}:
            raise invalid("Photon is not supported on GPU node types.")

    def _node(self, name):
        node = self._catalogue.nodes.get(name)
        if node is None or node.deprecated or node.statuses:
            usable = [n.name for n in self._catalogue.nodes.values() if not (n.deprecated or n.statuses)]
            raise invalid(f"Node type {name} is not supported. Supported node types: {', '.join(usable)}")
        return node

    def _size(self, spec):
        if (spec.get("num_workers") is None) == (spec.get("autoscale") is None):
            raise invalid("Exactly one of num_workers and autoscale must be specified.")
        scale = spec.get("autoscale")
        if scale and not 0 <= scale.get("min_workers", 0) <= scale.get("max_workers", 0):
            raise invalid("autoscale: min_workers must not be more than max_workers.")
        if spec.get("num_workers") == 0 and not spec.get("is_single_node"):
            conf, tags = spec.get("spark_conf") or {}, spec.get("custom_tags") or {}
            meant = conf.items() >= _SINGLE_NODE.items() and conf.get("spark.master", "").startswith("local")
            if not (meant and tags.get("ResourceClass") == "SingleNode"):
                raise invalid("The cluster must have at least one worker, or be a single node cluster.")

    def _access(self, spec):
        name = spec.get("single_user_name")
        if name is not None and spec.get("data_security_mode") not in {"SINGLE_USER", "DATA_SECURITY_MODE_DEDICATED"}:
            raise invalid("single_user_name can be specified only with the access mode SINGLE_USER.")
        if name is not None and self._accounts.named(name) is None:
            raise invalid(f"Single user {name} does not exist.")

    def _tags(self, tags):
        if len(tags) > _MOST_TAGS:
            raise invalid(f"At most {_MOST_TAGS} custom tags are allowed.")
        for name, value in tags.items():
            if name in _RESERVED_TAGS:
                raise invalid(f"The tag {name} is reserved by Databricks.")
            if self._cloud == "azure" and set(name) & set("<>%&\\?/"):
                raise invalid(f"The tag name {name!r} has a character that Azure does not allow.")
            if self._cloud == "gcp" and not all(each == each.lower() and len(each) <= 63 for each in (name, value)):
                raise invalid(f"The tag {name}={value} is no label of GCP: lower-case, at most 63 characters.")


def _check_script(given):
    if len(given) != 1:
        raise invalid("An init script has exactly one destination.")
    ((kind, where),) = given.items()
    path = where.get("destination") or ""
    if kind == "volumes" and not path.startswith("/Volumes/"):
        raise invalid(f"An init script in a volume begins with /Volumes/, and this is {path}.")
    if kind == "workspace" and (not path.startswith("/") or path.startswith("/Volumes/")):
        raise invalid(f"An init script in the workspace is an absolute path of it, and this is {path}.")
    if kind == "dbfs":
        raise invalid("Init scripts on DBFS are no longer supported.")
