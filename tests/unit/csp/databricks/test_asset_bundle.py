"""A deployment as an Asset Bundle: the same facts as `up`, in YAML that other parsers read alike."""

from __future__ import annotations

import dataclasses
import json

import pytest
import yaml
from databricks.sdk.service.compute import ClusterSpec
from databricks.sdk.service.jobs import JobSettings

from csp.databricks import asset_bundle
from csp.databricks.deployer import connect
from server_utils.errors import ConfigurationError
from unit.csp.deployments import deployment

CLOUD = connect(volume="/Volumes/main/default/sidecar")


@pytest.fixture
def written(tmp_path):
    (tmp_path / "a-b.ipynb").write_text("{}")
    return asset_bundle.write(CLOUD, deployment(tmp_path, "databricks-aws"), [tmp_path / "a-b.ipynb"], tmp_path)


def test_the_cluster_is_the_one_that_up_makes(written, tmp_path):
    wanted = deployment(tmp_path, "databricks-aws")
    read = yaml.safe_load(written.read_text())
    assert read["resources"]["clusters"] == {"sidecar": CLOUD.definition(wanted, wanted.clusters[0])}


def test_the_sdk_knows_every_field_of_cluster_and_job(written):
    read = yaml.safe_load(written.read_text())["resources"]
    cluster, job = read["clusters"]["sidecar"], read["jobs"]["a_b"]
    assert ClusterSpec.from_dict(cluster).as_dict() == cluster
    assert JobSettings.from_dict(job).as_dict() == job
    assert job["tasks"][0]["notebook_task"]["notebook_path"] == "./a-b.ipynb"


def test_the_vendors_types_of_bundles_know_every_field(written):
    """databricks-bundles has the resources of the bundle's published schema, and refuses what is not in it."""
    clusters = pytest.importorskip("databricks.bundles.clusters", reason="databricks-bundles is not installed")
    from databricks.bundles.jobs import Job

    read = yaml.safe_load(written.read_text())
    assert set(read) == {"bundle", "targets", "resources"}
    for name, kind in (("clusters", clusters.Cluster), ("jobs", Job)):
        for resource in read["resources"][name].values():
            assert kind.from_dict(resource).as_dict() == resource
            with pytest.raises(ValueError, match="Unexpected field 'unknown'"):
                kind.from_dict(resource | {"unknown": 1})


def test_notebooks_of_one_name_are_jobs_of_their_own(tmp_path):
    names = ["a/x.ipynb", "b/x.ipynb", "b-x.ipynb", "y.ipynb", "z-1.ipynb", "z_1.ipynb"]
    for each in names:
        (tmp_path / each).parent.mkdir(exist_ok=True)
        (tmp_path / each).write_text("{}")
    wanted = deployment(tmp_path, "databricks-aws")
    jobs = asset_bundle.configuration(CLOUD, wanted, [tmp_path / each for each in names], tmp_path)["resources"]["jobs"]
    tasks = {key: job["tasks"][0] for key, job in jobs.items()}
    paths = {key: task["notebook_task"]["notebook_path"] for key, task in tasks.items()}
    assert sorted(paths.values()) == sorted(f"./{each}" for each in names)
    assert paths["y"] == "./y.ipynb"
    assert {"a_x", "b_x", "b_x_2", "z_1", "z_1_2"} < set(paths)
    assert len({task["notebook_task"]["base_parameters"]["results"] for task in tasks.values()}) == len(names)


def test_a_second_writing_replaces_only_what_was_made_by_the_first(written, tmp_path):
    wanted = deployment(tmp_path, "databricks-aws", workers=1)
    assert asset_bundle.write(CLOUD, wanted, [], tmp_path) == written
    written.write_text("bundle: {name: theirs}\n")
    with pytest.raises(ConfigurationError, match="was not made by this command"):
        asset_bundle.write(CLOUD, wanted, [], tmp_path)


def test_a_notebook_elsewhere_is_refused(tmp_path):
    (tmp_path / "x.ipynb").write_text("{}")
    (tmp_path / "to").mkdir()
    with pytest.raises(ConfigurationError, match="copy it there"):
        asset_bundle.write(CLOUD, deployment(tmp_path, "databricks-aws"), [tmp_path / "x.ipynb"], tmp_path / "to")


def test_a_new_folder_is_made(tmp_path):
    path = asset_bundle.write(CLOUD, deployment(tmp_path, "databricks-aws"), [], tmp_path / "a" / "new")
    assert path.is_file()


@pytest.mark.parametrize(
    "value",
    [
        {"a": 'quote " and : colon # no comment', "b": "yes", "c": "1e3", "d": "ä\n"},
        {"numbers": [1, 2.5, True, None], "empty": {}, "none": [], "nested": [{"a": [{"b": 1}]}, ["c"]]},
    ],
)
def test_yaml_says_what_the_data_says(value):
    assert yaml.safe_load(asset_bundle.as_yaml(value)) == json.loads(json.dumps(value))


def test_the_definition_is_whole_when_it_has_gone_through_the_types_of_the_sdk(tmp_path):
    """`create` is called with the fields of these types; they drop what they do not know."""
    for platform, shape in (("databricks-aws", "a10x1"), ("databricks-azure", "t4x1"), ("databricks-gcp", "l4x1")):
        wanted = deployment(tmp_path, platform, shape)
        single = dataclasses.replace(wanted, clusters=deployment(tmp_path, platform, shape, workers=0).clusters)
        for each in (wanted, single):
            body = CLOUD.definition(each, each.clusters[0])
            assert ClusterSpec.from_dict(body).as_dict() == body
