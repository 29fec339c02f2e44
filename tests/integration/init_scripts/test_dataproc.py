"""The Dataproc action, run as root on nodes that are thrown away; metadata, gcloud and driver are stand-ins."""

from __future__ import annotations

import json
import sysconfig

HOME = "/opt/spark-sidecar"
ENVIRONMENT = f"{HOME}/envs/triton"


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
    copied = node.called().count("gcloud storage cp --recursive gs://bucket/* /opt/spark-sidecar/bundle.part/")
    assert copied == 1
    assert [line for line in node.called() if line.startswith("gcloud storage cp /opt/spark-sidecar/status.json ")]
    check_sparks_own_python(node)
    assert run()[0] == 0
    assert len([line for line in node.called() if "cp --recursive" in line]) == 1


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
    code, out, err = node.run("/opt/conda/default/bin/python", "-c", "import server_utils as s; print(s.__file__)")
    assert (code, out.startswith(f"{HOME}/lib/")) == (0, True), err


def test_the_master_of_a_cluster_without_workers_gets_the_environment(dataproc, bundle):
    node, run = dataproc(bundle, role="Master", **{"dataproc-worker-count": "0"})
    code, _, err = run()
    assert code == 0, err
    assert node.exists(f"{ENVIRONMENT}/bin/python")


def test_without_a_framework_in_the_metadata_the_action_says_which_there_are(dataproc, bundle):
    node, run = dataproc(bundle, framework="")
    refused(node, run(), "the metadata has no 'framework'; set it to triton, torch, tf or vllm")


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
