"""The Dataproc action, run as root on nodes that are thrown away; metadata, gcloud and driver are stand-ins."""

from __future__ import annotations

import json
import re
import sysconfig

from integration.init_scripts.conftest import SECRET, asked, listen

HOME = "/opt/spark-sidecar"
ENVIRONMENT = f"{HOME}/envs/triton"
DOCKER = """
case "$1" in
  version) echo 28.1.0 ;;
  image) echo "Error: No such image: $3" >&2; exit 1 ;;
  login) cat > /opt/login ;;
esac
"""
SHOW = "import os, server_utils; print(os.path.realpath(server_utils.__file__))"


def refused(node, ended, said):
    code, _, err = ended
    assert code == 1, ended
    assert err.strip().splitlines()[-1].startswith("error: spark-sidecar: ")
    assert said in err.strip().splitlines()[-1], err
    assert not node.exists(ENVIRONMENT)


def test_a_worker_is_made_ready_from_the_bucket_and_a_second_run_fetches_nothing(dataproc, bundle):
    node, run = dataproc(bundle, **{"spark-sidecar-into-spark": "yes"})
    code, out, err = run()
    assert code == 0, err
    assert out.splitlines()[-1].startswith("spark-sidecar: ready for triton, in ")
    assert node.exists(f"{ENVIRONMENT}/bin/python")
    copied = [line.split()[4] for line in node.called() if "cp --recursive" in line]
    assert sorted(copied) == sorted(f"gs://bucket/{path.name}" for path in bundle.iterdir() if path.name != "logs")
    assert [line for line in node.called() if line.startswith("gcloud storage cp /opt/spark-sidecar/status.json ")]
    check_sparks_own_python(node)
    assert run()[0] == 0
    assert [line.split()[4] for line in node.called() if "cp --recursive" in line] == copied


def check_sparks_own_python(node):
    """What was missing is there, and what the runtime ships is as it was."""
    show = "import torch, numpy, sys; print(torch.__file__); print(numpy.__file__)"
    code, out, err = node.run("/opt/conda/default/bin/python", "-c", show)
    assert code == 0, err
    torch, numpy = out.split()
    assert torch.startswith("/opt/conda/default/lib/")
    assert numpy.startswith(sysconfig.get_path("purelib"))
    code, _, _ = node.run("/opt/conda/default/bin/python", "-c", "import pytriton")
    assert code == 1


def test_the_script_that_spark_asks_for_gpus_lists_their_addresses(dataproc, copy_of):
    node, run = dataproc(copy_of(), role="Master")
    node.stand_in(
        "/usr/local/bin/nvidia-smi", '[[ "$1" == --query-gpu=index ]] && printf "0\\n1\\n" || echo no; exit 0'
    )
    assert run()[0] == 0
    code, out, _ = node.run(f"{HOME}/bin/gpu-addresses.sh")
    assert (code, json.loads(out)) == (0, {"name": "gpu", "addresses": ["0", "1"]})


def test_a_master_gets_the_package_and_no_environment(dataproc, bundle):
    node, run = dataproc(bundle, role="Master")
    assert run()[0] == 0
    assert not node.exists(ENVIRONMENT)
    code, out, err = node.run("/opt/conda/default/bin/python", "-c", SHOW)
    assert (code, out.startswith(f"{HOME}/lib/")) == (0, True), err


def test_the_master_of_a_cluster_without_workers_gets_the_environment(dataproc, bundle):
    node, run = dataproc(bundle, role="Master", **{"dataproc-worker-count": "0"})
    code, _, err = run()
    assert code == 0, err
    assert node.exists(f"{ENVIRONMENT}/bin/python")


def test_the_logs_of_earlier_nodes_are_not_copied_to_a_new_one(dataproc, copy_of):
    bundle = copy_of()
    (bundle / "logs" / "other-node").mkdir(parents=True)
    (bundle / "logs" / "other-node" / "init.log").touch()
    node, run = dataproc(bundle, role="Master")
    assert run()[0] == 0
    assert node.exists(f"{HOME}/bundle/wheels")
    assert not node.exists(f"{HOME}/bundle/logs")


def test_models_go_to_the_local_ssd_whoever_runs_the_executors(dataproc, copy_of):
    node, run = dataproc(copy_of(), role="Master")
    assert node.run("sh", "-c", "mkdir -p /mnt/1 && mount -t tmpfs -o mode=755 tmpfs /mnt/1")[0] == 0
    assert run()[0] == 0
    show = "from server_utils.host import platform; print(platform.cache_root())"
    yarn = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]
    code, out, err = node.run(*yarn, "/opt/conda/default/bin/python", "-c", show)
    assert (code, out.strip()) == (0, "/mnt/1/spark-sidecar/spark-sidecar-models-54321"), err


def test_without_a_route_to_the_package_index_the_error_says_nat_or_a_bundle(dataproc, copy_of):
    node, run = dataproc(copy_of(without_wheels=True))
    ended = run()
    refused(node, ended, "step uv failed: no route to the package index: give the nodes NAT ")
    assert "or a bundle with wheels (spark-sidecar wheelhouse build)" in ended[2]


def test_the_proxy_of_the_metadata_is_used_and_its_password_shown_nowhere(dataproc, copy_of):
    node, run = dataproc(copy_of(without_wheels=True))
    port = listen(node)
    node.write("/etc/metadata/HTTPS_PROXY", f"http://joe:hush@127.0.0.1:{port}")
    ended = run()
    refused(node, ended, "step uv failed: no route to the package index: ")
    assert re.match(r"CONNECT \S+:443 ", asked(node))
    shown = ended[1] + ended[2] + node.read(f"{HOME}/log/init.log") + node.read(f"{HOME}/status.json")
    assert "hush" not in shown
    # The bucket is reached without it.
    assert [line for line in node.called() if line.startswith("gcloud storage cp /opt/spark-sidecar/status.json ")]


def test_without_a_framework_in_the_metadata_the_action_says_which_there_are(dataproc, bundle):
    node, run = dataproc(bundle, framework="")
    refused(node, run(), "step settings failed: no framework is set; set FRAMEWORK")


def test_a_bundle_elsewhere_than_in_a_bucket_is_refused(dataproc, bundle):
    node, run = dataproc(bundle, **{"spark-sidecar-bundle": "s3://bucket"})
    refused(node, run(), "the metadata 'spark-sidecar-bundle' is 's3://bucket'; it names the gs://… with our wheel")


def test_a_bucket_that_is_not_there_is_refused(dataproc, bundle):
    node, run = dataproc(bundle, **{"spark-sidecar-bundle": "gs://bucket/gone"})
    refused(node, run(), "gs://bucket/gone/SHA256SUMS cannot be read; check the bucket's name")


def test_no_gpu_on_an_image_with_a_driver_is_refused(dataproc, bundle):
    node, run = dataproc(bundle)
    node.stand_in("/usr/local/bin/nvidia-smi", 'echo "No devices were found"; exit 6')
    refused(node, run(), "step gpu failed: the image has a GPU driver, but no GPU answers")


def test_a_worker_for_nim_gets_its_image_and_the_group_of_docker_and_no_environment(dataproc, copy_of):
    image = "nvcr.io/nim/meta/llama-3.1-8b-instruct:1.8.4"
    node, run = dataproc(copy_of(), framework="nim", NIM_IMAGE=image, NGC_SECRET_NAME="ngc")
    node.stand_in("/usr/local/bin/docker", DOCKER)
    node.stand_in("/usr/local/bin/systemctl", "exit 0")
    assert node.run("sh", "-c", "groupadd --force docker && useradd yarn")[0] == 0
    code, out, err = run()
    assert code == 0, err
    assert out.splitlines()[-1].startswith("spark-sidecar: ready for nim, in ")
    assert f"docker pull {image}" in node.called()
    assert node.read("/opt/login") == SECRET
    assert "docker" in node.run("id", "-nG", "yarn")[1].split()
    assert "systemctl try-restart hadoop-yarn-nodemanager" in node.called()
    assert not node.exists(f"{HOME}/envs")
    assert SECRET not in "\n".join(node.called()) + node.read(f"{HOME}/log/init.log") + out + err
