"""The options of a cluster: what each platform has, and which values it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from server_utils.clusters.options import Options, check_options, check_settings
from server_utils.errors import ConfigurationError
from server_utils.host.redaction import SECRET_ADDRESS, SECRET_NAME

ROOT = Path(__file__).parents[3]
AWS, AZURE, GCP, DATAPROC = "databricks-aws", "databricks-azure", "databricks-gcp", "dataproc"
PROFILE = "arn:aws:iam::123456789012:instance-profile/x"
ACCOUNT = "nodes@project-1.iam.gserviceaccount.com"


@pytest.mark.parametrize(
    ("platform", "options"),
    [
        (AWS, Options(spot=True, zone="us-east-1a", instance_profile=PROFILE, log_folder="/Volumes/a/b/c/logs")),
        (AWS, Options(tags={"Cost Center": "R&D"}, single_user="me@example.com", idle_minutes=0)),
        (GCP, Options(zone="us-central1-a", tags={"team": "a"})),
        (AZURE, Options(tags={"Team": "A"}, idle_minutes=10)),
        (
            DATAPROC,
            Options(spot_workers=2, zone="europe-west4-b", service_account=ACCOUNT, staging_bucket="project-1-x"),
        ),
        (DATAPROC, Options(subnetwork="default", network_tags=("spark",), idle_minutes=5)),
    ],
)
def test_what_a_platform_has_is_accepted(platform, options):
    check_options(options, platform)


@pytest.mark.parametrize(
    ("platform", "options", "said"),
    [
        (DATAPROC, Options(spot=True), "dataproc has no option spot: .* give spot_workers; leave it out"),
        (AWS, Options(spot_workers=2), "databricks-aws has no option spot_workers: .* give spot; leave it out"),
        (DATAPROC, Options(log_folder="/Volumes/a/b/c"), "logs go to the staging bucket; leave it out"),
        (DATAPROC, Options(single_user="me"), "nodes run as a service account; leave it out"),
        (AZURE, Options(instance_profile=PROFILE), "an instance profile is AWS's; leave it out"),
        (AWS, Options(service_account=ACCOUNT), "nodes of Databricks run as the cluster's user; leave it out"),
        (AWS, Options(subnetwork="default"), "the workspace decides the network; leave it out"),
        (GCP, Options(network_tags=("a",)), "the workspace decides the network; leave it out"),
        (AWS, Options(metadata={"HTTPS_PROXY": "http://p"}), "read variables: give env; leave it out"),
        (GCP, Options(staging_bucket="abc"), "Databricks needs none; leave it out"),
        (AZURE, Options(zone="1"), "takes no zone, but it is '1': Azure chooses one; leave it out"),
        (AWS, Options(zone="us-east-1"), "no zone of databricks-aws; give one such as us-east-1a, not a region"),
        (DATAPROC, Options(zone="us-central1"), "no zone of dataproc; give one such as us-central1-a, not a region"),
        (AWS, Options(idle_minutes=5), "idle_minutes is 5; databricks-aws takes 10 to 10000, or 0 for never"),
        (DATAPROC, Options(idle_minutes=4), "idle_minutes is 4; dataproc takes 5 to 20160, or 0 for never"),
        (AWS, Options(tags={"ResourceClass": "x"}), "give your tag another name, or workers=0"),
        (DATAPROC, Options(tags={"Team": "a"}), "the tag Team=a is no label of Google Cloud: at most 63 lower-case"),
        (GCP, Options(tags={"team": "A"}), "the tag team=A is no label of Google Cloud"),
        (AWS, Options(log_folder="dbfs:/logs"), "give one in a volume: /Volumes/catalog/schema/volume/logs"),
        (DATAPROC, Options(service_account="me"), "give an e-mail, name@project.iam.gserviceaccount.com"),
        (
            DATAPROC,
            Options(service_account="1-compute@developer.gserviceaccount.com"),
            "the project's default account, with far too many permissions; make one",
        ),
        (DATAPROC, Options(staging_bucket="gs://b"), "give the bucket's name alone, without gs://"),
        (AWS, Options(instance_profile="x"), "give its ARN, such as arn:aws:iam::123456789012:instance-profile/name"),
        (AWS, Options(local_ssds=1), "node types of Databricks have the disks that they have; leave it out"),
        (DATAPROC, Options(local_ssds=3), "local_ssds is 3; a machine of Google Cloud takes 0, 1, 2, 4, 8, 16, 24"),
        (DATAPROC, Options(spot_workers=-1), "spot_workers is -1; give a whole number, 0 for none"),
        (DATAPROC, Options(metadata={"hf-token": "hf_x"}), "hf-token would be readable .* Secret Manager"),
        (
            DATAPROC,
            Options(metadata={"UV_DEFAULT_INDEX": "https://me:hunter2@index.example/simple"}),
            "UV_DEFAULT_INDEX has an address with a password or token, .* knows the nodes by their network",
        ),
    ],
)
def test_what_a_platform_does_not_have_or_take_is_refused_with_the_fix(platform, options, said):
    with pytest.raises(ConfigurationError, match=said):
        check_options(options, platform)


@pytest.mark.parametrize(
    ("conf", "env", "platform", "said"),
    [
        ({"HF_HOME": "/x"}, {}, AWS, "'HF_HOME' is no Spark setting: .* variables go into env"),
        ({}, {"spark.x": "1"}, AWS, "'spark.x' is no name of a variable: .* a Spark setting goes into conf"),
        ({}, {"HF_TOKEN": "hf_x"}, AWS, r"HF_TOKEN would be readable .*\{\{secrets/scope/key\}\}"),
        ({"spark.my.password": "x"}, {}, AZURE, r"spark.my.password would be readable .*\{\{secrets/scope/key\}\}"),
        ({}, {"HF_TOKEN": "{{secrets/a/b}}"}, DATAPROC, "HF_TOKEN would be readable .* Secret Manager"),
        ({}, {"UV_INDEX_URL": "https://tok@host/x"}, AWS, r"UV_INDEX_URL has an address .*\{\{secrets/scope/key\}\}"),
        ({"spark.x": "jdbc:a://me:pw@host/db"}, {}, GCP, r"spark.x has an address .*\{\{secrets/scope/key\}\}"),
        ({}, {"HTTPS_PROXY": "http://me:pw@proxy:3128"}, DATAPROC, "HTTPS_PROXY has an address .* by their network"),
    ],
)
def test_a_misplaced_setting_or_an_open_secret_is_refused_with_the_fix(conf, env, platform, said):
    with pytest.raises(ConfigurationError, match=said):
        check_settings(conf, env, platform)


def test_no_message_shows_the_secret_that_it_is_about():
    for refuse in (
        lambda: check_settings({}, {"UV_INDEX_URL": "https://me:hunter2@host"}, AWS),
        lambda: check_options(Options(metadata={"admin-password": "hunter2"}), DATAPROC),
    ):
        with pytest.raises(ConfigurationError) as caught:
            refuse()
        assert "hunter2" not in str(caught.value)


def test_an_at_sign_alone_is_no_secret():
    check_settings(
        {"spark.a": "abfss://container@account.dfs.core.windows.net/x", "spark.b": "https://host/?to=me@example.com"},
        {"A": "http://proxy:3128", "B": "hdfs://name-node:8020/user/me@example.com", "C": "me@example.com"},
        AZURE,
    )
    check_options(Options(metadata={"spark-sidecar-bundle": "gs://b/x", "HTTPS_PROXY": "http://proxy:3128"}), DATAPROC)


@pytest.mark.parametrize("module", ["databricks", "dataproc"])
def test_terraform_knows_a_secret_by_the_same_patterns(module):
    text = (ROOT / "terraform" / "modules" / module / "main.tf").read_text()
    for pattern in (f"(?i)({SECRET_NAME.pattern})", SECRET_ADDRESS.pattern):
        assert pattern.replace("\\", "\\\\") in text
    settings = ROOT / "terraform" / "modules" / f"{module}-assets" / "variables.tf"
    assert SECRET_ADDRESS.pattern.replace("\\", "\\\\") in settings.read_text()


def test_a_reference_to_a_secret_is_accepted_on_databricks():
    check_settings({"spark.x": "1"}, {"HF_TOKEN": "{{secrets/models/hub}}", "HF_HOME": "/x"}, AWS)
