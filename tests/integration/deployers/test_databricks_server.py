"""The Databricks server keeps its promises to the vendor's own SDK: fields, states, errors, pages, faults, execution.

The SDK's clocks are the server's, so that its waits take no time.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
from datetime import timedelta

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk._base_client import _BaseClient
from databricks.sdk.core import Config
from databricks.sdk.errors import (
    AlreadyExists,
    BadRequest,
    DatabricksError,
    InternalError,
    InvalidParameterValue,
    NotFound,
    NotImplemented,  # noqa: A004  # the SDK's name for HTTP 501
    OperationFailed,
    PermissionDenied,
    ResourceAlreadyExists,
    ResourceDoesNotExist,
    Unauthenticated,
)
from databricks.sdk.service import catalog, compute, jobs, workspace
from support.databricks_server import schema
from support.databricks_server.accounts import ME, TOKEN, Account
from support.databricks_server.faults import REASONS, ClusterFate, Fault, RunFate, fate
from support.databricks_server.notebooks import model_of
from support.databricks_server.server import DatabricksServer

from integration.deployers.databricks_node import nodes_below
from integration.init_scripts.node_tree import why_not

HOME = f"/Users/{ME}"
VOLUME = "/Volumes/main/default/models"
RUNTIME = "17.3.x-gpu-ml-scala2.13"
NOTEBOOK = b"# Databricks notebook source\n"
OTHER = Account("other@example.com", "dapi-other", may_create_clusters=False)


@pytest.fixture
def server(tmp_path):
    with DatabricksServer(tmp_path) as started:
        started.unity.create(ME, "VOLUME", "main.default.models", {"volume_type": "MANAGED"})
        yield started


@pytest.fixture
def connect(monkeypatch):
    """Clients of a server: connect(server, token). Their waits and retries take the server's time."""

    def client(server, token=TOKEN, **options):
        monkeypatch.setattr(compute, "time", server.clock)
        monkeypatch.setattr(jobs, "time", server.clock)
        config = Config(host=server.host, token=token, clock=server.clock)
        for name, value in options.items():
            setattr(config, name, value)
        return WorkspaceClient(config=config)

    return client


@pytest.fixture
def client(server, connect):
    return connect(server)


def create(client, **changes):
    given = {"cluster_name": "reviews", "spark_version": RUNTIME, "node_type_id": "g5.4xlarge", "num_workers": 2}
    return client.clusters.create(**(given | changes))


def upload(client, name, content):
    client.workspace.upload(f"{HOME}/{name}", io.BytesIO(content), format=workspace.ImportFormat.AUTO, overwrite=True)


def script(path):
    return compute.InitScriptInfo(workspace=compute.WorkspaceStorageInfo(destination=path))


def notebook_task(path, **changes):
    task = jobs.NotebookTask(notebook_path=path)
    return jobs.SubmitTask(**({"task_key": "main", "notebook_task": task} | changes))


def outputs_of(client, run_id):
    """The outputs of all tasks of a run."""
    return [client.jobs.get_run_output(task.run_id) for task in client.jobs.get_run(run_id).tasks]


# Requests


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"spark_version": RUNTIME, "num_workerz": 2}, "unknown field 'num_workerz' in 'request'"),
        ({"spark_version": RUNTIME, "num_workers": "2"}, "'num_workers' must be of type int, and is '2'"),
        ({"spark_version": RUNTIME, "num_workers": True}, "'num_workers' must be of type int"),
        ({"spark_version": RUNTIME, "aws_attributes": {"zone": "a"}}, "unknown field 'zone' in 'aws_attributes'"),
        ({"spark_version": RUNTIME, "aws_attributes": {"availability": "CHEAP"}}, "'CHEAP' is not one of"),
        ({"spark_version": RUNTIME, "init_scripts": {"destination": "/x"}}, "'init_scripts' must be an array"),
        ({"spark_version": RUNTIME, "init_scripts": [{"volume": {}}]}, "unknown field 'volume' in 'init_scripts[0]'"),
        ({"spark_version": RUNTIME, "spark_conf": {"a": 1}}, "'spark_conf.a' must be of type str"),
        ({"spark_version": RUNTIME, "cluster_id": "x"}, "unknown field 'cluster_id'"),
        ({"num_workers": 2}, "Missing required field: spark_version"),
    ],
)
def test_a_body_that_the_sdk_could_not_send_is_refused(client, body, message):
    with pytest.raises(BadRequest, match=r".") as refused:
        client.api_client.do("POST", "/api/2.1/clusters/create", body=body)
    assert message in str(refused.value)


def test_queries_and_paths_are_checked_too(client):
    with pytest.raises(BadRequest, match="unknown query parameter 'clusterid'"):
        client.api_client.do("GET", "/api/2.1/clusters/get", query={"clusterid": "x"})
    with pytest.raises(BadRequest, match="'ten' is no number"):
        client.api_client.do("GET", "/api/2.1/clusters/list", query={"page_size": "ten"})
    with pytest.raises(NotFound, match=r"No API found for 'GET /api/2\.1/clusters/gett'"):
        client.api_client.do("GET", "/api/2.1/clusters/gett")
    with pytest.raises(NotImplemented, match="is not served here"):
        client.jobs.delete(1)


def test_the_routes_are_the_sdks_own():
    assert len(schema.routes()) > 80
    route = schema.routes()["POST", "/api/2.1/clusters/create"]
    assert {"aws_attributes", "num_workers", "policy_id"} < set(route.body)
    assert route.required == {"spark_version"}


def test_a_token_is_needed_and_checked(server, connect):
    with pytest.raises(PermissionDenied, match="Invalid access token"):
        connect(server, "dapi-wrong").current_user.me()
    with pytest.raises(Unauthenticated):
        _BaseClient().do("GET", f"{server.host}/api/2.0/preview/scim/v2/Me")
    assert connect(server).current_user.me().user_name == ME


# Clusters


def test_a_cluster_is_running_before_all_workers_are_there(server, client):
    states = []
    running = create(client).result(timeout=timedelta(minutes=60), callback=lambda c: states.append(c.state.value))
    assert states.count("PENDING") == len(states) > 1
    assert (running.state.value, len(running.executors), running.num_workers) == ("RUNNING", 1, 2)
    server.clock.advance(120)
    assert len(client.clusters.get(running.cluster_id).executors) == 2
    assert [event.type.value for event in client.clusters.events(running.cluster_id)] == [
        "UPSIZE_COMPLETED", "DRIVER_HEALTHY", "RUNNING", "CREATING"
    ]  # fmt: skip


def test_a_clusters_defaults_are_filled_in(client):
    shown = create(client).result()
    assert shown.driver_node_type_id == "g5.4xlarge"
    assert (shown.data_security_mode.value, shown.single_user_name) == ("SINGLE_USER", ME)
    assert shown.autotermination_minutes == 120
    assert shown.default_tags["ClusterName"] == "reviews"
    assert shown.termination_reason is None


def test_a_deleted_cluster_is_listed_until_it_is_deleted_for_good(server, client):
    cluster_id = create(client).result().cluster_id
    deleted = client.clusters.delete(cluster_id)
    assert client.clusters.get(cluster_id).state.value == "TERMINATING"
    gone = deleted.result()
    assert (gone.state.value, gone.termination_reason.code.value) == ("TERMINATED", "USER_REQUEST")
    assert gone.termination_reason.type.value == "SUCCESS"
    assert [each.cluster_id for each in client.clusters.list()] == [cluster_id]
    client.clusters.delete(cluster_id)  # once more changes nothing
    client.clusters.permanent_delete(cluster_id)
    assert list(client.clusters.list()) == []


def test_a_missing_cluster_has_one_error_for_get_and_another_for_delete(client):
    with pytest.raises(ResourceDoesNotExist, match="Cluster 1-2-x does not exist"):
        client.clusters.get("1-2-x")
    for call in (client.clusters.delete, client.clusters.permanent_delete):
        with pytest.raises(InvalidParameterValue, match="Cluster 1-2-x does not exist"):
            call("1-2-x")


def test_a_terminated_cluster_is_forgotten_after_thirty_days(server, client):
    client.clusters.delete(create(client).result().cluster_id).result()
    server.clock.advance(31 * 24 * 3600)
    assert list(client.clusters.list()) == []


def test_an_idle_cluster_ends_by_itself(server, client):
    cluster_id = create(client, autotermination_minutes=10).result().cluster_id
    server.clock.advance(200)
    assert client.clusters.get(cluster_id).state.value == "RUNNING"
    server.clock.advance(11 * 60)
    assert client.clusters.get(cluster_id).termination_reason.code.value == "INACTIVITY"


def test_clusters_start_again_and_resize(server, client):
    cluster_id = create(client).result().cluster_id
    with pytest.raises(BadRequest, match="it cannot start"):
        client.clusters.start(cluster_id)
    client.clusters.resize(cluster_id, num_workers=4)
    assert client.clusters.get(cluster_id).state.value == "RESIZING"
    client.clusters.wait_get_cluster_running(cluster_id)
    assert len(client.clusters.get(cluster_id).executors) == 4
    client.clusters.delete(cluster_id).result()
    assert client.clusters.start(cluster_id).result().state.value == "RUNNING"


def test_lists_and_events_come_in_pages(server, client):
    made = [create(client, cluster_name=f"c{number}").response.cluster_id for number in range(5)]
    before = len(server.requests)
    assert [each.cluster_id for each in client.clusters.list(page_size=2)] == made[::-1]
    assert server.requests[before:] == [("GET", "/api/2.1/clusters/list")] * 3
    client.clusters.wait_get_cluster_running(made[0])
    assert [e.type.value for e in client.clusters.events(made[0], limit=1, order=compute.GetEventsOrder.ASC)] == [
        "CREATING", "RUNNING", "DRIVER_HEALTHY"
    ]  # fmt: skip
    with pytest.raises(InvalidParameterValue, match="Invalid page token"):
        list(client.clusters.list(page_token="two"))


def test_lists_are_filtered_by_state_and_source(client):
    running = create(client).result().cluster_id
    client.clusters.delete(create(client).response.cluster_id).result()
    by_state = compute.ListClustersFilterBy(cluster_states=[compute.State.RUNNING, compute.State.PENDING])
    assert [each.cluster_id for each in client.clusters.list(filter_by=by_state)] == [running]
    by_source = compute.ListClustersFilterBy(cluster_sources=[compute.ClusterSource.JOB])
    assert list(client.clusters.list(filter_by=by_source)) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spark_version": "9.1.x-gpu-ml-scala2.12"}, "Invalid spark version"),
        ({"node_type_id": "g99.large"}, "Node type g99.large is not supported"),
        ({"driver_node_type_id": "m5.large"}, "must both be GPU"),
        ({"node_type_id": "m5.large"}, "needs a GPU"),
        ({"runtime_engine": compute.RuntimeEngine.PHOTON}, "Photon is not supported"),
        ({"num_workers": None}, "Exactly one of num_workers and autoscale"),
        ({"num_workers": 0}, "at least one worker"),
        ({"autotermination_minutes": 5}, "between 10 and 10000"),
        ({"gcp_attributes": compute.GcpAttributes(zone_id="AUTO")}, "gcp_attributes cannot be specified"),
        ({"single_user_name": "x@example.com"}, "only with the access mode SINGLE_USER"),
        ({"custom_tags": {"Vendor": "us"}}, "The tag Vendor is reserved"),
        ({"custom_tags": {str(number): "" for number in range(46)}}, "At most 45 custom tags"),
        ({"init_scripts": [script("/Volumes/main/x.sh")]}, "An init script in the workspace"),
        ({"policy_id": "none"}, "Can't find a cluster policy"),
    ],
)
def test_a_cluster_that_databricks_would_not_make_is_refused(client, changes, message):
    with pytest.raises(DatabricksError, match=r".") as refused:
        create(client, **changes)
    assert message in str(refused.value)
    assert list(client.clusters.list()) == []


def test_node_types_say_whether_they_can_be_had(server, client):
    server.catalogue.change("g5.4xlarge", deprecated=True)
    server.catalogue.change("g5.12xlarge", statuses=("NotAvailableInRegion",))
    types = {each.node_type_id: each for each in client.clusters.list_node_types().node_types}
    assert types["g5.4xlarge"].is_deprecated
    assert types["g5.12xlarge"].node_info.status[0].value == "NotAvailableInRegion"
    assert client.clusters.select_spark_version(gpu=True, ml=True, long_term_support=True, scala="2.13") == RUNTIME
    for name in ("g5.4xlarge", "g5.12xlarge"):
        with pytest.raises(InvalidParameterValue, match="is not supported"):
            create(client, node_type_id=name)


@pytest.mark.parametrize("cloud", ["aws", "azure", "gcp"])
def test_each_cloud_offers_what_our_facts_name(tmp_path, connect, cloud):
    with DatabricksServer(tmp_path, cloud=cloud) as server:
        client = connect(server)
        assert getattr(client.config, f"is_{cloud}")
        node = client.clusters.select_node_type(min_gpus=1)
        create(client, node_type_id=node).result()
        tags = {"Owner": "Me"} if cloud == "gcp" else {"Name": "x"}
        with pytest.raises(InvalidParameterValue, match="tag"):
            create(client, node_type_id=node, custom_tags=tags)


# What goes wrong with clusters


@pytest.mark.parametrize("code", sorted(REASONS))
def test_a_cluster_ends_for_each_reason_that_users_meet(server, client, code):
    server.plan.clusters.append(fate(code))
    waiting = create(client)
    with pytest.raises(OperationFailed, match=r"failed to reach RUNNING, got State\.TERMINATED"):
        waiting.result()
    ended = client.clusters.get(waiting.response.cluster_id)
    assert ended.termination_reason.code.value == code
    assert list(ended.termination_reason.parameters) == [REASONS[code][1]]
    assert "ADD_NODES_FAILED" in [event.type.value for event in client.clusters.events(ended.cluster_id)]
    assert create(client).result().state.value == "RUNNING"  # the plan was for one cluster


def test_a_cluster_may_run_with_too_few_workers_and_may_be_in_error(server, client):
    server.plan.clusters += [ClusterFate(workers=1), ClusterFate("UNKNOWN", "SERVICE_FAULT", state="ERROR")]
    few = create(client).result().cluster_id
    server.clock.advance(3600)
    assert len(client.clusters.get(few).executors) == 1
    with pytest.raises(OperationFailed, match="ERROR"):
        create(client).result()


def test_a_spot_instance_may_be_taken_back_from_a_running_cluster(server, client):
    server.plan.clusters.append(fate("SPOT_INSTANCE_TERMINATION", at="RUNNING"))
    cluster_id = create(client).result().cluster_id
    server.clock.advance(200)
    assert client.clusters.get(cluster_id).state.value == "TERMINATING"


def test_an_init_script_that_is_not_there_ends_the_cluster(client):
    waiting = create(client, init_scripts=[script(f"{HOME}/none.sh")])
    with pytest.raises(OperationFailed):
        waiting.result()
    ended = client.clusters.get(waiting.response.cluster_id)
    assert ended.termination_reason.code.value == "INIT_SCRIPT_FAILURE"
    (finished,) = client.clusters.events(ended.cluster_id, event_types=[compute.EventType.INIT_SCRIPTS_FINISHED])
    assert finished.details.init_scripts.cluster[0].status.value == "FAILED_FETCH"


def test_somebody_elses_cluster_may_have_the_same_name_and_is_not_ours_to_delete(server, client, connect):
    server.accounts.add(OTHER)
    theirs = create(client).result().cluster_id
    stranger = connect(server, OTHER.token)
    assert [each.creator_user_name for each in stranger.clusters.list()] == [ME]
    for call in (stranger.clusters.delete, stranger.clusters.permanent_delete):
        with pytest.raises(PermissionDenied, match="does not have Manage permissions"):
            call(theirs)
    assert create(client).result().cluster_id != theirs


# Policies and privileges


def test_a_policy_fixes_fields_and_only_its_users_may_use_it(server, connect):
    server.accounts.add(OTHER)
    user = connect(server, OTHER.token)
    with pytest.raises(PermissionDenied, match="You are not authorized to create clusters"):
        create(user)
    rules = {"num_workers": {"type": "range", "maxValue": 2}, "autotermination_minutes": {"type": "fixed", "value": 30}}
    policy_id = server.policies.add("gpu", rules, creator=ME)
    assert list(user.cluster_policies.list()) == []
    with pytest.raises(PermissionDenied, match="CAN_USE"):
        create(user, policy_id=policy_id)
    server.policies.users[policy_id].add(OTHER.name)
    assert [each.name for each in user.cluster_policies.list()] == ["gpu"]
    assert create(user, policy_id=policy_id).result().autotermination_minutes == 30
    with pytest.raises(InvalidParameterValue, match="Validation failed for autotermination_minutes, the value must be"):
        create(user, policy_id=policy_id, autotermination_minutes=60)
    with pytest.raises(InvalidParameterValue, match="Validation failed for num_workers"):
        create(user, policy_id=policy_id, num_workers=3)


def test_volumes_need_the_privileges_on_all_that_holds_them(server, connect):
    server.accounts.add(OTHER)
    user = connect(server, OTHER.token)
    for privilege, where in [
        ("USE CATALOG", "main"), ("USE SCHEMA", "main.default"), ("WRITE VOLUME", "main.default.models")
    ]:  # fmt: skip
        with pytest.raises(PermissionDenied, match=f"User does not have {privilege} on"):
            user.files.create_directory(f"{VOLUME}/m")
        server.unity.grant(OTHER.name, privilege.replace(" ", "_"), where)
    user.files.create_directory(f"{VOLUME}/m")
    with pytest.raises(PermissionDenied, match="CREATE VOLUME"):
        user.volumes.create("main", "default", "mine", catalog.VolumeType.MANAGED)


def test_effective_permissions_hold_what_was_granted_above(server, client):
    server.unity.grant(OTHER.name, "READ_VOLUME", "main")
    client.grants.update(
        "volume", "main.default.models",
        changes=[catalog.PermissionsChange(add=[catalog.Privilege.WRITE_VOLUME], principal=OTHER.name)],
    )  # fmt: skip
    (held,) = client.grants.get_effective("volume", "main.default.models", principal=OTHER.name).privilege_assignments
    assert {(p.privilege.value, p.inherited_from_name) for p in held.privileges} == {
        ("READ_VOLUME", "main"), ("WRITE_VOLUME", None)
    }  # fmt: skip
    assert not client.grants.get_effective("volume", "main.default.models", principal=ME).privilege_assignments


def test_catalogs_schemas_and_volumes_are_made_found_and_deleted(client):
    client.catalogs.create("lab")
    client.schemas.create("ml", "lab")
    made = client.volumes.create("lab", "ml", "files", catalog.VolumeType.MANAGED)
    assert (made.full_name, made.owner) == ("lab.ml.files", ME)
    assert [each.name for each in client.catalogs.list()] == ["main", "lab"]
    assert [each.full_name for each in client.volumes.list("lab", "ml")] == ["lab.ml.files"]
    with pytest.raises(BadRequest, match="already exists"):
        client.volumes.create("lab", "ml", "files", catalog.VolumeType.MANAGED)
    with pytest.raises(NotFound, match="Catalog 'none' does not exist"):
        client.catalogs.get("none")
    with pytest.raises(BadRequest, match="is not empty"):
        client.schemas.delete("lab.ml")
    client.volumes.delete("lab.ml.files")
    with pytest.raises(NotFound):
        client.volumes.read("lab.ml.files")


# Files


def test_files_of_a_volume_are_written_read_and_listed(client):
    with pytest.raises(NotFound, match="parent directory"):
        client.files.upload(f"{VOLUME}/m/a.json", io.BytesIO(b"{}"))
    client.files.create_directory(f"{VOLUME}/m/deep")
    client.files.upload(f"{VOLUME}/m/a.json", io.BytesIO(b"{}"))
    with pytest.raises(AlreadyExists):
        client.files.upload(f"{VOLUME}/m/a.json", io.BytesIO(b"[]"), overwrite=False)
    client.files.upload(f"{VOLUME}/m/a.json", io.BytesIO(b"[1]"), overwrite=True)
    assert client.files.download(f"{VOLUME}/m/a.json").contents.read() == b"[1]"
    assert client.files.get_metadata(f"{VOLUME}/m/a.json").content_length == 3
    assert [each.name for each in client.files.list_directory_contents(f"{VOLUME}/m", page_size=1)] == [
        "a.json",
        "deep",
    ]
    with pytest.raises(BadRequest, match="is not empty"):
        client.files.delete_directory(f"{VOLUME}/m")
    client.files.delete(f"{VOLUME}/m/a.json")
    with pytest.raises(NotFound):
        client.files.get_metadata(f"{VOLUME}/m/a.json")
    with pytest.raises(NotFound, match=r"Volume 'main\.default\.none' does not exist"):
        client.files.create_directory("/Volumes/main/default/none/m")


def parts(server):
    return sum(path.startswith("/presigned/") and verb == "PUT" for verb, path in server.requests)


def test_large_files_go_in_parts_to_signed_addresses(server, connect, tmp_path):
    client = connect(server, files_ext_multipart_upload_min_stream_size=2**20)
    content = bytes(range(256)) * 2**14  # 4 MiB
    client.files.upload(f"{VOLUME}/big", io.BytesIO(content), part_size=2**20)
    assert parts(server) == 4
    assert ("PUT", f"/api/2.0/fs/files{VOLUME}/big") not in server.requests
    client.files.download_to(f"{VOLUME}/big", str(tmp_path / "big"))
    assert (tmp_path / "big").read_bytes() == content


def test_behind_a_firewall_the_sdk_falls_back_to_one_put(server, connect):
    client = connect(server, files_ext_multipart_upload_min_stream_size=2**20)
    server.volumes.blocked = True
    client.files.upload(f"{VOLUME}/big", io.BytesIO(bytes(2**21)), part_size=2**20)
    assert parts(server) > 0
    assert ("PUT", f"/api/2.0/fs/files{VOLUME}/big") in server.requests
    assert client.files.get_metadata(f"{VOLUME}/big").content_length == 2**21


def test_the_workspace_keeps_notebooks_and_files(client):
    client.workspace.mkdirs(f"{HOME}/deep/folder")
    upload(client, "deep/job.py", NOTEBOOK + b"print(1)\n\n# COMMAND ----------\n\n# MAGIC %md hello\n")
    upload(client, "deep/init.sh", b"echo hi\n")
    kinds = {each.path.rpartition("/")[2]: each.object_type.value for each in client.workspace.list(f"{HOME}/deep")}
    assert kinds == {"folder": "DIRECTORY", "job": "NOTEBOOK", "init.sh": "FILE"}  # a notebook loses its suffix
    assert client.workspace.get_status(f"/Workspace{HOME}/deep/job").language.value == "PYTHON"
    exported = client.workspace.export(f"{HOME}/deep/job", format=workspace.ExportFormat.JUPYTER).content
    cells = json.loads(base64.b64decode(exported))["cells"]
    assert [(each["cell_type"], each["source"]) for each in cells] == [("code", "print(1)"), ("markdown", "hello")]
    assert client.workspace.download(f"{HOME}/deep/init.sh").read() == b"echo hi\n"
    with pytest.raises(BadRequest, match="is not empty"):
        client.workspace.delete(f"{HOME}/deep")
    client.workspace.delete(f"{HOME}/deep", recursive=True)
    with pytest.raises(ResourceDoesNotExist, match="doesn't exist"):
        client.workspace.get_status(f"{HOME}/deep")


def test_imports_are_checked(client):
    text = base64.b64encode(b"print(1)").decode()
    with pytest.raises(ResourceDoesNotExist, match="The parent folder"):
        client.workspace.import_(f"{HOME}/none/x", content=text, language=workspace.Language.PYTHON)
    with pytest.raises(InvalidParameterValue, match="The language must be specified"):
        client.workspace.import_(f"{HOME}/x", content=text)
    with pytest.raises(InvalidParameterValue, match="no valid JUPYTER file"):
        client.workspace.import_(f"{HOME}/x", content=text, format=workspace.ImportFormat.JUPYTER)
    with pytest.raises(BadRequest, match="exceeded max size"):
        upload(client, "x", bytes(10 * 2**20 + 1))
    upload(client, "x", b"1")
    with pytest.raises(ResourceAlreadyExists):
        client.workspace.import_(f"{HOME}/x", content=text, format=workspace.ImportFormat.AUTO)


def test_a_service_principal_may_have_no_home_folder(server, connect):
    robot = server.accounts.add(Account("0a1b-2c3d", "dapi-robot", home=False))
    with pytest.raises(ResourceDoesNotExist, match="/Users/0a1b-2c3d"):
        connect(server, robot.token).workspace.mkdirs(f"/Users/{robot.name}/kit")


# Runs


def test_a_run_is_submitted_once_for_one_token(client):
    cluster_id = create(client).result().cluster_id
    upload(client, "job.py", NOTEBOOK)
    task = notebook_task(f"{HOME}/job", existing_cluster_id=cluster_id)
    first = client.jobs.submit(run_name="r", tasks=[task], idempotency_token="once")
    assert client.jobs.submit(run_name="r", tasks=[task], idempotency_token="once").run_id == first.run_id
    done = first.result()
    assert done.state.result_state.value == "SUCCESS"
    assert [each.run_id for each in client.jobs.list_runs(completed_only=True)] == [first.run_id]
    with pytest.raises(InvalidParameterValue, match="output of each individual task run"):
        client.jobs.get_run_output(first.run_id)
    assert client.jobs.get_run_output(done.tasks[0].run_id).error is None
    with pytest.raises(ResourceDoesNotExist, match="Run 1 does not exist"):
        client.jobs.get_run(1)


def test_a_run_with_a_cluster_of_its_own_ends_it(client):
    upload(client, "job.py", NOTEBOOK)
    spec = compute.ClusterSpec(spark_version=RUNTIME, node_type_id="g5.4xlarge", num_workers=1)
    done = client.jobs.submit(run_name="r", tasks=[notebook_task(f"{HOME}/job", new_cluster=spec)]).result()
    assert done.state.result_state.value == "SUCCESS"
    ended = client.clusters.wait_get_cluster_terminated(done.tasks[0].cluster_instance.cluster_id)
    assert (ended.cluster_source.value, ended.termination_reason.code.value) == ("JOB", "JOB_FINISHED")


def test_a_run_whose_cluster_does_not_come_says_why(server, client):
    upload(client, "job.py", NOTEBOOK)
    server.plan.clusters.append(fate("GCP_QUOTA_EXCEEDED"))
    spec = compute.ClusterSpec(spark_version=RUNTIME, node_type_id="g5.4xlarge", num_workers=1)
    with pytest.raises(OperationFailed, match=r"was terminated. Reason: GCP_QUOTA_EXCEEDED \(CLIENT_ERROR\)"):
        client.jobs.submit(run_name="r", tasks=[notebook_task(f"{HOME}/job", new_cluster=spec)]).result()


def test_a_task_waits_for_another_and_is_skipped_after_its_failure(server, client):
    cluster_id = create(client).result().cluster_id
    first = notebook_task(f"{HOME}/none", task_key="first", existing_cluster_id=cluster_id)
    second = notebook_task(
        f"{HOME}/none", task_key="second", existing_cluster_id=cluster_id, depends_on=[jobs.TaskDependency("first")]
    )
    submitted = client.jobs.submit(run_name="r", tasks=[second, first])
    with pytest.raises(OperationFailed, match=r"got RunLifeCycleState\.INTERNAL_ERROR"):
        submitted.result()
    states = {task.task_key: task.state for task in client.jobs.get_run(submitted.run_id).tasks}
    assert "Unable to access the notebook" in states["first"].state_message
    assert states["second"].result_state.value == "UPSTREAM_FAILED"


@pytest.mark.parametrize(
    ("planned", "waits"),
    [
        (RunFate("SKIPPED", None, "Another run is active"), None),  # the SDK takes it for a success
        (RunFate("TERMINATED", "FAILED", "Workload failed"), None),  # and this one
        (RunFate("INTERNAL_ERROR", "FAILED", "Driver is down", "OutOfMemoryError: heap"), OperationFailed),
    ],
)
def test_a_run_may_end_in_each_way(server, client, planned, waits):
    cluster_id = create(client).result().cluster_id
    server.plan.runs.append(planned)
    submitted = client.jobs.submit(run_name="r", tasks=[notebook_task(f"{HOME}/x", existing_cluster_id=cluster_id)])
    with pytest.raises(waits) if waits else contextlib.nullcontext():
        submitted.result()
    state = client.jobs.get_run(submitted.run_id).state
    assert state.life_cycle_state.value == planned.life_cycle
    assert (state.result_state and state.result_state.value) == planned.result
    assert state.state_message == planned.message
    assert outputs_of(client, submitted.run_id)[0].error == planned.error


def test_a_run_is_cancelled_and_times_out(server, client):
    cluster_id = create(client).result().cluster_id
    upload(client, "job.py", NOTEBOOK)
    tasks = [notebook_task(f"{HOME}/job", existing_cluster_id=cluster_id)]
    run_id = client.jobs.submit(run_name="r", tasks=tasks).run_id
    assert client.jobs.cancel_run(run_id).result().state.result_state.value == "CANCELED"
    server.plan.runs += [None]
    late = client.jobs.submit(run_name="r", tasks=[notebook_task(f"{HOME}/job", existing_cluster_id=cluster_id)],
                              timeout_seconds=5).run_id  # fmt: skip
    client.jobs.get_run(late)
    server.clock.advance(10)
    assert client.jobs.get_run(late).state.result_state.value == "TIMEDOUT"


def test_what_is_no_run_is_refused(client):
    with pytest.raises(InvalidParameterValue, match="at least one task"):
        client.jobs.submit(run_name="r", tasks=[])
    with pytest.raises(InvalidParameterValue, match="exactly one of existing_cluster_id and new_cluster"):
        client.jobs.submit(run_name="r", tasks=[notebook_task(f"{HOME}/x")])
    with pytest.raises(InvalidParameterValue, match="Cluster none does not exist"):
        client.jobs.submit(run_name="r", tasks=[notebook_task(f"{HOME}/x", existing_cluster_id="none")])


# Faults of requests


def test_a_throttled_request_is_repeated_after_the_time_that_the_server_names(server, client):
    busy = Fault("GET /api/2.1/clusters/list", 429, "REQUEST_LIMIT_EXCEEDED", "busy", retry_after_s=40, times=2)
    server.plan.faults.append(busy)
    before = server.clock.time()
    assert list(client.clusters.list()) == []
    assert 80 <= server.clock.time() - before < 90


def test_a_request_that_stays_throttled_ends_in_the_builtin_timeout(server, client):
    busy = Fault("GET /api/2.1/clusters/*", 429, "REQUEST_LIMIT_EXCEEDED", "busy", retry_after_s=60, times=100)
    server.plan.faults.append(busy)
    with pytest.raises(TimeoutError):
        client.clusters.spark_versions()


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (401, "UNAUTHENTICATED", Unauthenticated),
        (403, "PERMISSION_DENIED", PermissionDenied),
        (404, "RESOURCE_DOES_NOT_EXIST", ResourceDoesNotExist),
        (409, "ALREADY_EXISTS", AlreadyExists),
        (500, "INTERNAL_ERROR", InternalError),
    ],
)
def test_a_planned_error_reaches_the_client_once(server, client, status, code, error):
    server.plan.faults.append(Fault("GET */clusters/list", status, code, "User does not have USE CATALOG"))
    with pytest.raises(error, match="USE CATALOG"):
        list(client.clusters.list())
    assert list(client.clusters.list()) == []


def test_an_unavailable_server_is_asked_again(server, client):
    server.plan.faults.append(Fault("*", 503, "TEMPORARILY_UNAVAILABLE", times=3))
    assert client.current_user.me().user_name == ME


def test_a_wait_goes_on_after_the_network_was_lost(server, client):
    server.plan.faults.append(Fault("GET /api/2.1/clusters/get", drop="before", skip=1, times=4))
    assert create(client).result().state.value == "RUNNING"


def test_a_lost_answer_to_create_leaves_two_clusters(server, client):
    """The trap that deployers have to know: the SDK repeats the request, and create knows no tokens."""
    server.plan.faults.append(Fault("POST /api/2.1/clusters/create", drop="after"))
    create(client)
    assert len(list(client.clusters.list())) == 2


def test_a_lost_answer_to_submit_leaves_one_run(server, client):
    cluster_id = create(client).result().cluster_id
    server.plan.faults.append(Fault("POST /api/2.2/jobs/runs/submit", drop="after"))
    task = notebook_task(f"{HOME}/x", existing_cluster_id=cluster_id)
    client.jobs.submit(run_name="r", tasks=[task], idempotency_token="once")
    assert len(list(client.jobs.list_runs())) == 1


def test_time_can_move_with_requests_for_clients_with_a_clock_of_their_own(tmp_path):
    with DatabricksServer(tmp_path, tick_s=60) as server:
        client = WorkspaceClient(host=server.host, token=TOKEN)
        cluster_id = create(client).response.cluster_id
        states = [client.clusters.get(cluster_id).state.value for _ in range(3)]
        assert states == ["PENDING", "RUNNING", "RUNNING"]


# What is executed

GOOD = b"""
import os
with open("/Volumes/main/default/models/answer", "w") as file:
    file.write(str(spark.range(6, numPartitions=1).count()))
print(os.environ["DATABRICKS_RUNTIME_VERSION"], os.environ["DB_IS_DRIVER"], open("/opt/ready").read())

# COMMAND ----------

dbutils.notebook.exit(dbutils.widgets.get("n"))
"""
SCRIPT = b"""
set -eu
[[ "$FRAMEWORK" != fail ]] || { echo "no such framework" >&2; exit 3; }
echo "$DB_CLUSTER_ID $DB_IS_DRIVER" | tee /opt/ready
"""
LOGS = compute.ClusterLogConf(volumes=compute.VolumesStorageInfo(destination=f"{VOLUME}/logs"))
node = pytest.mark.skipif(why_not() is not None, reason=f"no nodes here: {why_not()}")


@pytest.fixture
def executing(server, tmp_path, connect):
    """The same server, and clusters that execute: (server, client)."""
    server.machines.make = nodes_below(tmp_path / "nodes")
    client = connect(server)
    upload(client, "init.sh", SCRIPT)
    return server, client


def with_script(client, framework):
    return create(
        client, init_scripts=[script(f"/Workspace{HOME}/init.sh")], cluster_log_conf=LOGS,
        spark_env_vars={"FRAMEWORK": framework},
    )  # fmt: skip


def logs(client, cluster_id, stream):
    """The text of the init scripts' logs of one stream."""
    (folder,) = client.files.list_directory_contents(f"{VOLUME}/logs/{cluster_id}/init_scripts")
    (path,) = [e.path for e in client.files.list_directory_contents(folder.path) if e.path.endswith(f"{stream}.log")]
    return client.files.download(path).contents.read().decode()


@node
def test_an_init_script_that_fails_ends_its_cluster_and_leaves_its_log(executing):
    _, client = executing
    waiting = with_script(client, "fail")
    with pytest.raises(OperationFailed, match="Script exit status is non-zero: 3"):
        waiting.result()
    ended = client.clusters.get(waiting.response.cluster_id)
    assert ended.termination_reason.code.value == "INIT_SCRIPT_FAILURE"
    assert logs(client, ended.cluster_id, "stderr") == "no such framework\n"


@node
def test_a_notebook_runs_on_the_node_that_its_init_script_made_ready(executing):
    _, client = executing
    cluster_id = with_script(client, "vllm").result().cluster_id
    assert logs(client, cluster_id, "stdout") == f"{cluster_id} FALSE\n"
    upload(client, "good.py", NOTEBOOK + GOOD)
    task = jobs.NotebookTask(notebook_path=f"{HOME}/good", base_parameters={"n": "7"})
    done = client.jobs.submit(
        run_name="r", tasks=[jobs.SubmitTask("main", existing_cluster_id=cluster_id, notebook_task=task)]
    ).result()
    assert done.state.result_state.value == "SUCCESS"
    assert client.jobs.get_run_output(done.tasks[0].run_id).notebook_output.result == "7"
    assert client.files.download(f"{VOLUME}/answer").contents.read() == b"6"
    (view,) = client.jobs.export_run(done.tasks[0].run_id).views
    shown = model_of(view.content)["commands"][0]["results"]["data"]
    assert "".join(each["data"] for each in shown) == f"17.3 TRUE {cluster_id} FALSE\n\n"


@node
def test_a_notebook_that_fails_and_a_file_that_stops_spark_say_so(executing):
    _, client = executing
    cluster_id = create(client).result().cluster_id
    upload(client, "bad.py", NOTEBOOK + b"rows = [1, 0]\n\n# COMMAND ----------\n\n1 / rows[1]\n")
    upload(client, "stops.py", b"import sys\nprint(sys.argv[1])\nspark.stop()\n")
    file = jobs.SparkPythonTask(python_file=f"/Workspace{HOME}/stops.py", parameters=["--fast"])
    submitted = client.jobs.submit(run_name="r", tasks=[
        notebook_task(f"{HOME}/bad", existing_cluster_id=cluster_id),
        jobs.SubmitTask("file", existing_cluster_id=cluster_id, spark_python_task=file),
    ])  # fmt: skip
    with pytest.raises(OperationFailed, match="Task main failed with message: Workload failed, see run output"):
        submitted.result()
    failed, stopped = outputs_of(client, submitted.run_id)
    assert failed.error == "ZeroDivisionError: division by zero"
    assert "rows" in failed.error_trace
    assert stopped.error.startswith("SparkStopped: the notebook stopped `spark`")
    assert stopped.logs == "--fast\n"
