"""What a cluster of a platform, shape and framework is made of: looked up, never decided here. Laptop and driver.

`render` puts all of it into one file, `data/clusters.json`, for tools that do not speak Python.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from server_utils.clusters import spark_conf
from server_utils.clusters.catalogue import Node, node, nodes, platforms
from server_utils.clusters.options import Options, check_options, check_settings
from server_utils.clusters.tags import tag_rules
from server_utils.environments.lock_files import FOLDER, cuda_of
from server_utils.errors import ConfigurationError
from server_utils.host.gpus import OLDEST_DRIVER
from server_utils.validation import did_you_mean

# On YARN an application without dynamic allocation starts two executors, however many workers there are.
_WORKER_COUNT_CONF = {"dataproc": "spark.executor.instances"}
# The -ml images of Dataproc may load the RAPIDS Accelerator, which takes nearly a whole GPU on every executor. Nothing
# else that we set would unload it.
_PLUGINS = "spark.plugins"
_UNSET_PLUGINS = {f"spark:{_PLUGINS}": ""}
_RENDERED_AS_THEY_ARE = ("attributes", "driver_node_type", "first_shape", "nodes", "runtime")


@dataclass(frozen=True)
class Runtime:
    """A Databricks Runtime or a Dataproc image.

    Attributes:
        cuda: None where the image has no GPU driver.
        driver: the version of NVIDIA's driver; None where nobody has reported it.
        driver_of_init_action: Dataproc, for images without a driver: what Google's init action builds there.
    """

    kind: str
    name: str
    spark: str
    python: str
    cuda: str | None
    driver: str | None
    until: str
    source: str
    driver_of_init_action: str | None = None


@dataclass(frozen=True)
class Cluster:
    """A cluster before any platform's API is spoken; every value is what the platform calls it.

    Attributes:
        workers: 0 for a single node.
        properties: cluster properties of Dataproc that are no Spark settings, with their prefixes; none on Databricks.
        platform: what is the platform's alone and depends on no shape: rows of `data/platforms.json`.
    """

    node: Node
    driver_node_type: str
    runtime: Runtime
    framework: str
    workers: int
    conf: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    options: Options = field(default_factory=Options)
    platform: dict[str, Any] = field(default_factory=dict)

    @property
    def single_node(self) -> bool:
        """Whether one node is driver and worker."""
        return self.workers == 0


def frameworks() -> list[str]:
    """The frameworks that a cluster can be made for."""
    return list(_facts()["frameworks"])


def framework_facts() -> dict[str, dict[str, Any]]:
    """Framework -> its row of `data/platforms.json`, the only list of frameworks."""
    rows: dict[str, dict[str, Any]] = _facts()["frameworks"]
    return rows


def runtimes(platform: str) -> list[Runtime]:
    """The runtimes or images of a platform, oldest first.

    Raises:
        ConfigurationError: if there is no such platform.
    """
    kind = _platform(platform)["runtimes"]
    return [Runtime(**each) for each in _facts()["runtimes"] if each["kind"] == kind]


def environment(framework: str) -> str | None:
    """The sealed environment that a framework runs in; None where its servers are containers.

    Raises:
        ConfigurationError: if there is no such framework.
    """
    name: str | None = _framework(framework)["environment"]
    return name


def runs_containers(name: str) -> bool:
    """Whether this is a framework whose servers are containers, and not one, or an environment, of this package's."""
    return name in frameworks() and environment(name) is None


def refusal(framework: str, kind: str) -> str | None:
    """Why a framework cannot run on a platform, and what to use instead; None where it can. kind: of runtimes.

    Raises:
        ConfigurationError: if there is no such framework.
    """
    reason: str | None = _framework(framework).get("refused", {}).get(kind)
    return reason


def cluster(
    platform: str,
    shape: str | Node,
    framework: str,
    *,
    workers: int = 2,
    runtime: str | None = None,
    rapids: bool = False,
    conf: dict[str, str] | None = None,
    env: dict[str, str] | None = None,
    options: Options | None = None,
    allow_undocumented: bool = False,
) -> Cluster:
    """The cluster for a shape; what the user gives in conf and env is merged last.

    A shape is one of the catalogue, or a node that `catalogue.own_node` made. With 0 workers the cluster is a single
    node. allow_undocumented takes a node type that the platform's documents do not name.

    Raises:
        ConfigurationError: if platform, shape, framework or runtime do not exist, the framework does not run there, the
            platform has no such number of workers or refuses the node type, or the RAPIDS Accelerator does not run on
            the shape.
    """
    row = shape if isinstance(shape, Node) else node(platform, shape)
    conf, env, options = conf or {}, env or {}, options or Options()
    _check_workers(platform, workers, options)
    _check_sold(row, options, allow_undocumented=allow_undocumented)
    check_options(options, platform)
    _check_disks(row, options.local_ssds)
    check_settings(conf, env, platform)
    single_node = workers == 0
    if single_node and rapids and platform != "dataproc":
        raise ConfigurationError("a single node on Databricks has no executors for RAPIDS; leave rapids out")
    ours = spark_conf.recommended(row, rapids=rapids, single_node=single_node)
    ours |= _worker_count(platform, workers, options)
    facts = _platform(platform)
    if reason := refusal(framework, facts["runtimes"]):
        raise ConfigurationError(reason)
    return Cluster(
        node=row,
        driver_node_type=row.node_type if single_node else facts["driver_node_type"],
        runtime=_runtime(platform, runtime),
        framework=framework,
        workers=workers,
        conf=ours | conf,
        env=_env(framework) | node_env(row) | env,
        properties=_properties(row, ours | conf, single_node=single_node),
        options=options,
        platform=facts.get("attributes") or _nodes_for(framework, facts),
    )


def _nodes_for(framework: str, facts: dict[str, Any]) -> dict[str, Any]:
    """What all nodes of Dataproc have, with the components that the framework needs."""
    nodes: dict[str, Any] = facts.get("nodes", {})
    components = [*nodes.get("optional_components", []), *_framework(framework).get("optional_components", [])]
    return nodes | {"optional_components": components}


def node_env(row: Node) -> dict[str, str]:
    """The variables that a node type needs, whatever the framework."""
    # GPUs that a hypervisor slices have no peer access: NCCL asks for it and fails.
    return {"NCCL_P2P_DISABLE": "1"} if row.vgpu and row.gpus > 1 else {}


def driver_warning(cluster: Cluster) -> str | None:
    """What may not work, seen before anything is started: the image's GPU driver. None if it is known to be new enough.

    A runtime states its CUDA, and its driver runs that major version at least; it may be newer than it needs to be.
    """
    if runs_containers(cluster.framework):
        return _gpu_warning(cluster)
    lock = FOLDER / f"{environment(cluster.framework)}-cuda.txt"
    built, name, stated = cuda_of(lock), cluster.runtime.name, cluster.runtime.cuda
    if built is not None and (stated is None or built[0] > int(stated.partition(".")[0])):
        has = f"states CUDA {stated}" if stated else _without_driver(cluster.runtime)
        return (
            f"{lock.name} is built for CUDA {built[0]}, which needs driver {OLDEST_DRIVER[built[0]]} or newer, and "
            f"{name} {has}; whether its driver is new enough, the init script says on the first node"
        )
    return _gpu_warning(cluster)


def _without_driver(runtime: Runtime) -> str:
    built = runtime.driver_of_init_action
    return "brings no driver" + (f" (Google's install_gpu_driver.sh builds {built} by default)" if built else "")


def _gpu_warning(cluster: Cluster) -> str | None:
    gpu, needed, has = cluster.node.gpu, cluster.node.oldest_driver, cluster.runtime.driver
    # All runtimes here run CUDA 12, whose drivers know every GPU before those that need a branch of 550 or later.
    known_enough = int(has.partition(".")[0]) if has else 535
    if needed <= known_enough:
        return None
    return (
        f"the GPU {gpu} needs driver {needed} or newer, and {cluster.runtime.name} has "
        f"{f'driver {has}' if has else 'a driver that nobody has reported'}; choose the newest runtime, and look at "
        "nvidia-smi on the first node"
    )


def _check_workers(platform: str, workers: int, options: Options) -> None:
    if workers < 0:
        raise ConfigurationError(f"workers is {workers}; give a whole number, 0 for a single node")
    if platform == "dataproc" and workers == 1:
        raise ConfigurationError("workers is 1; Dataproc takes 2 or more, or 0 for a single node")
    if workers == 0 and (options.spot or options.spot_workers):
        raise ConfigurationError("a single node (workers=0) has no workers that could be spot; leave spot out")


def _check_sold(row: Node, options: Options, *, allow_undocumented: bool) -> None:
    if row.spot_only and row.platform == "dataproc":
        raise ConfigurationError(
            f"{row.shape} ({row.node_type}) is sold as spot only, and Dataproc's primary workers are never spot; "
            "choose another shape: `spark-sidecar shapes --platform dataproc`"
        )
    if row.spot_only and not options.spot:
        raise ConfigurationError(f"{row.shape} ({row.node_type}) is sold as spot only; set spot, or take another shape")
    if not row.documented and not allow_undocumented:
        raise ConfigurationError(
            f"the documents of {row.platform} do not name {row.node_type} ({row.shape}), so it may be refused; allow "
            "undocumented node types to try it, or choose another shape"
        )


def _check_disks(row: Node, local_ssds: int) -> None:
    if not local_ssds or row.local_ssds is None or local_ssds in row.local_ssds:
        return
    if not row.local_ssds:
        raise ConfigurationError(f"local_ssds is {local_ssds}, but {row.node_type} brings its own; leave it out")
    counts = " or ".join(map(str, (0, *row.local_ssds)))
    raise ConfigurationError(f"local_ssds is {local_ssds}, but {row.node_type} takes {counts}; give one of these")


def _worker_count(platform: str, workers: int, options: Options) -> dict[str, str]:
    setting = _WORKER_COUNT_CONF.get(platform)
    return {setting: str(max(workers + options.spot_workers, 1))} if setting else {}


def _properties(row: Node, conf: dict[str, str], *, single_node: bool) -> dict[str, str]:
    unset = _UNSET_PLUGINS if row.platform == "dataproc" and _PLUGINS not in conf else {}
    return spark_conf.properties(row, single_node=single_node) | unset


def render() -> str:
    """The whole of `data/clusters.json`, as text."""
    content = {"$schema": "./clusters.schema.json", "platforms": {name: _rendered(name) for name in platforms()}}
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def _rendered(platform: str) -> dict[str, Any]:
    facts = _platform(platform)
    return {
        **{key: facts[key] for key in _RENDERED_AS_THEY_ARE if key in facts},
        "runtimes": {each.name: _rendered_runtime(each) for each in runtimes(platform)},
        "tags": asdict(tag_rules(platform)),
        "worker_count_conf": _WORKER_COUNT_CONF.get(platform),
        "unset_properties": _UNSET_PLUGINS if platform == "dataproc" else {},
        "frameworks": {name: _rendered_framework(name, facts["runtimes"]) for name in frameworks()},
        "shapes": {each.shape: _rendered_shape(each) for each in nodes(platform)},
    }


def _rendered_framework(name: str, kind: str) -> dict[str, Any]:
    components = _framework(name).get("optional_components", [])
    return {"env": _env(name), "optional_components": components, "refused": refusal(name, kind)}


def _rendered_runtime(runtime: Runtime) -> dict[str, Any]:
    return {"spark": runtime.spark, "python": runtime.python, "cuda": runtime.cuda, "driver": runtime.driver}


def _rendered_shape(row: Node) -> dict[str, Any]:
    conf = spark_conf.recommended(row)
    with_rapids = spark_conf.recommended(row, rapids=True) if row.gpus == 1 else None
    return {
        "node_type": row.node_type,
        "accelerator": row.accelerator,
        "gpu": row.gpu,
        "gpus": row.gpus,
        "gpu_memory_gib": row.gpu_memory_gib,
        "bfloat16": row.bfloat16,
        "vcpus": row.vcpus,
        "ram_gib": row.ram_gib,
        "local_disks": row.local_disks,
        "local_ssds": row.local_ssds,
        "quota": row.quota,
        "spot_only": row.spot_only,
        "documented": row.documented,
        "env": node_env(row),
        "conf": conf,
        "properties": spark_conf.properties(row),
        "single_node": {
            "conf": spark_conf.recommended(row, single_node=True),
            "properties": spark_conf.properties(row, single_node=True),
        },
        "rapids_conf": with_rapids and {key: value for key, value in with_rapids.items() if key not in conf},
    }


def _env(framework: str) -> dict[str, str]:
    # FRAMEWORK is what the init scripts read, where the cluster's variables reach them.
    return {"FRAMEWORK": framework, **_framework(framework)["env"]}


def _runtime(platform: str, name: str | None) -> Runtime:
    offered = {each.name: each for each in runtimes(platform)}
    chosen = name or _platform(platform)["runtime"]
    if chosen not in offered:
        raise ConfigurationError(f"no runtime of {platform} is called {chosen!r}{did_you_mean(chosen, list(offered))}")
    return offered[chosen]


def _platform(name: str) -> dict[str, Any]:
    offered = _facts()["platforms"]
    if name not in offered:
        raise ConfigurationError(f"no platform is called {name!r}{did_you_mean(name, list(offered))}")
    facts: dict[str, Any] = offered[name]
    return facts


def _framework(name: str) -> dict[str, Any]:
    offered = _facts()["frameworks"]
    if name not in offered:
        raise ConfigurationError(f"no framework is called {name!r}{did_you_mean(name, list(offered))}")
    facts: dict[str, Any] = offered[name]
    return facts


@cache
def _facts() -> dict[str, Any]:
    # importlib.resources and not a path: the package may be imported from a zip (spark.submit.pyFiles).
    text = (files("server_utils") / "data" / "platforms.json").read_text(encoding="utf-8")
    facts: dict[str, Any] = json.loads(text)
    return facts
