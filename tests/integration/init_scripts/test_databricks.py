"""The Databricks script, run as root on nodes that are thrown away: it works, and each fault ends in one clear line."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import zipfile
from pathlib import Path

import pytest

from integration.init_scripts.conftest import LOGS, VOLUME, asked, give_notebook, listen

SERVE = Path(__file__).with_name("serve.py")
SERVE_DETACHED = Path(__file__).with_name("serve_detached.py")
SETTINGS = {"FRAMEWORK": "triton", "SPARK_SIDECAR_BUNDLE": VOLUME}
HOME = "/opt/spark-sidecar"
ENVIRONMENT = f"{HOME}/envs/triton"
PYTHON = "/databricks/python3/bin/python"


def status(node):
    return json.loads(node.read(f"{HOME}/status.json"))


def packages(node):
    return sorted(path.name for path in (node.root / "databricks/python3").glob("lib/python*/site-packages/*"))


def refused(node, ended, said):
    """The last line is the error, and nothing that was made is in use."""
    code, _, err = ended
    assert code == 1, ended
    last = err.strip().splitlines()[-1]
    assert last.startswith("error: spark-sidecar: ")
    assert said in last, err
    assert not node.exists(ENVIRONMENT)


def test_a_node_without_a_network_is_made_ready_and_serves_a_model(databricks, bundle):
    node, run = databricks(bundle)
    before = packages(node)
    code, out, err = run(**SETTINGS)
    assert code == 0, err
    assert out.splitlines()[-1].startswith("spark-sidecar: ready for triton, in ")
    assert (status(node)["state"], status(node)["step"]) == ("ready", "end")
    check_sparks_own_python(node, before)
    # Log and status are beside the bundle too.
    (copied,) = (node.root / LOGS.lstrip("/")).iterdir()
    assert json.loads((copied / "status.json").read_text()) == status(node)
    assert "env build triton" in (copied / "init.log").read_text()
    check_serving(node, PYTHON)
    check_second_run(node, run)
    check_serving(node, give_notebook(node))
    check_detached(node, give_notebook(node))


def check_sparks_own_python(node, before):
    """It is as it was, but for the line that names our folder, and links into it for notebooks."""
    added = set(packages(node)) - set(before)
    assert set(before) < set(packages(node))
    assert {name for name in added if name.startswith(("server_utils", "spark"))} == {
        "server_utils", "spark-sidecar.pth", *(name for name in added if name.startswith("spark_sidecar-"))
    }  # fmt: skip
    (site,) = (node.root / "databricks/python3").glob("lib/python*/site-packages")
    assert {name: (site / name).readlink() for name in added - {"spark-sidecar.pth"}} == {
        name: Path(f"{HOME}/lib/{name}") for name in added - {"spark-sidecar.pth"}
    }


def check_serving(node, python):
    variables = {"DATABRICKS_RUNTIME_VERSION": "17.3", "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": python}
    code, out, err = node.run(python, str(SERVE), **variables)
    assert code == 0, err[-3000:]
    said = json.loads(out.splitlines()[-1])
    assert said["rows"] == [0, 2, 4, 6, 8]
    assert said["states"] == ["ready"]
    assert said["from"].startswith(f"{HOME}/lib/")


def check_detached(node, python):
    """A server outlives the environment of the notebook that started it, and is restarted without it."""
    variables = {"DATABRICKS_RUNTIME_VERSION": "17.3", "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": python}
    code, out, err = node.run(python, str(SERVE_DETACHED), **variables)
    assert code == 0, err[-3000:]
    assert json.loads(out.splitlines()[-1]) == {"state": "ready", "restarts": 1, "supervisor": PYTHON}
    assert not node.exists(python)


def check_second_run(node, run):
    """Nothing is made again."""
    made = [(node.root / path.lstrip("/")).stat().st_ino for path in (ENVIRONMENT, f"{HOME}/lib")]
    assert run(**SETTINGS)[0] == 0
    assert [(node.root / path.lstrip("/")).stat().st_ino for path in (ENVIRONMENT, f"{HOME}/lib")] == made
    assert status(node)["seconds"]["uv"] < 1


def test_settings_come_from_a_file_beside_the_script_where_variables_do_not_reach_it(databricks, copy_of):
    node, run = databricks(copy_of(without_wheels=True))
    node.write("/databricks/spark-sidecar.env", f"# settings\nFRAMEWORK=tryton\nSPARK_SIDECAR_BUNDLE={VOLUME}\n")
    refused(
        node,
        run(),
        "step settings failed: there is no framework 'tryton'; set FRAMEWORK to one of dynamo, nim, sglang, ",
    )


def test_settings_come_from_the_file_that_the_script_was_uploaded_with(databricks, copy_of):
    node, run = databricks(copy_of(without_wheels=True))
    script = node.read("/databricks/init.sh").replace("@SETTINGS@", "/Volumes/settings.env")
    node.write("/databricks/init.sh", script)
    node.write("/Volumes/settings.env", f"FRAMEWORK=$(touch /ran)\nSPARK_SIDECAR_BUNDLE={VOLUME}\n")
    refused(node, run(), "there is no framework '$(touch /ran)'")
    assert not node.exists("/ran")


def test_without_a_framework_the_script_says_which_there_are(databricks, bundle):
    node, run = databricks(bundle)
    said = "step settings failed: no framework is set; set FRAMEWORK (a variable of the cluster, or a line of the"
    refused(node, run(SPARK_SIDECAR_BUNDLE=VOLUME), said)


def test_without_a_bundle_the_script_says_what_it_is(databricks, bundle):
    node, run = databricks(bundle)
    ended = run(FRAMEWORK="triton", SPARK_SIDECAR_BUNDLE="/Volumes/gone")
    refused(node, ended, "SPARK_SIDECAR_BUNDLE is '/Volumes/gone', which is no folder")


def test_a_python_that_is_too_old_is_refused(databricks, bundle):
    node, run = databricks(bundle)
    (node.root / PYTHON.lstrip("/")).unlink()
    node.write(PYTHON, "#!/bin/sh\nexit 1\n", mode=0o755)
    refused(node, run(**SETTINGS), f"{PYTHON} is not Python 3.11 or later; take runtime 15.4 or later")


def test_a_bundle_that_is_not_whole_is_refused(databricks, copy_of):
    bundle = copy_of()
    wheel = next(bundle.glob("spark_sidecar-*.whl"))
    content = wheel.read_bytes()
    wheel.unlink()
    wheel.write_bytes(content[:-1])
    node, run = databricks(bundle)
    refused(node, run(**SETTINGS), f"{VOLUME} is not whole: SHA256SUMS is missing or does not match")


def test_without_wheels_and_network_the_error_names_both_ways_out(databricks, copy_of):
    node, run = databricks(copy_of(without_wheels=True))
    ended = run(**SETTINGS)
    refused(node, ended, "step uv failed: ")
    assert "The bundle has no wheels/, so the package index was asked" in ended[2]


def test_the_driver_of_a_cluster_with_workers_gets_the_package_and_no_environment(databricks, copy_of):
    node, run = databricks(copy_of())
    assert run(**SETTINGS, DB_IS_DRIVER="TRUE", SPARK_SIDECAR_WORKERS="2")[0] == 0
    assert not node.exists(ENVIRONMENT)
    code, out, err = node.run(give_notebook(node), "-c", "import server_utils; print(server_utils.__file__)")
    assert (code, out.startswith("/databricks/python3/lib/")) == (0, True), err


def test_an_index_in_the_settings_file_is_asked_and_its_password_shown_nowhere(databricks, copy_of):
    node, run = databricks(copy_of(without_wheels=True))
    index = f"UV_INDEX_URL=http://me:s3cret@127.0.0.1:{listen(node)}/t0ken/simple"
    node.write("/databricks/spark-sidecar.env", f"FRAMEWORK=triton\nSPARK_SIDECAR_BUNDLE={VOLUME}\n{index}\n")
    ended = run()
    refused(node, ended, "step uv failed: ")
    assert asked(node) == f"GET /t0ken/simple/uv/ Basic {base64.b64encode(b'me:s3cret').decode()}"
    shown = ended[1] + ended[2] + node.read(f"{HOME}/log/init.log") + node.read(f"{HOME}/status.json")
    assert "s3cret" not in shown
    assert "t0ken" not in shown


def spoil(bundle, package):
    """Another wheel of the same name: it is whole, but not the one that was locked."""
    wheel = next((bundle / "wheels").glob(f"*{package}-*.whl"))
    other = wheel.with_suffix(".other")
    shutil.copyfile(wheel, other)
    with zipfile.ZipFile(other, "a") as archive:
        archive.writestr("added.py", "raise SystemExit")
    other.replace(wheel)


@pytest.mark.parametrize(("package", "step"), [("tritonclient", "package"), ("pytriton", "environment")])
def test_a_wheel_that_is_not_the_locked_one_is_refused(databricks, copy_of, package, step):
    bundle = copy_of()
    spoil(bundle, package)
    node, run = databricks(bundle)
    ended = run(**SETTINGS)
    refused(node, ended, f"step {step} failed: ")
    assert "ash mismatch" in ended[2].splitlines()[-1], ended[2]
    assert status(node)["state"] == "failed"


def test_a_damaged_wheel_is_refused(databricks, copy_of):
    bundle = copy_of()
    wheel = next((bundle / "wheels").glob("tritonclient-*.whl"))
    content = bytearray(wheel.read_bytes())
    content[len(content) // 2] ^= 1
    wheel.unlink()
    wheel.write_bytes(content)
    node, run = databricks(bundle)
    refused(node, run(**SETTINGS), "step package failed: Failed to ")
    assert not node.exists(f"{HOME}/lib")


def test_a_full_disk_is_named(databricks, bundle):
    node, run = databricks(bundle)
    assert node.run("sh", "-c", f"mkdir -p {HOME} && mount -t tmpfs -o size=150m tmpfs {HOME}")[0] == 0
    ended = run(**SETTINGS)
    refused(node, ended, "step environment failed: ")
    assert "No space left on device" in ended[2]


def test_no_gpu_on_an_image_with_a_driver_is_refused_before_anything_is_installed(databricks, bundle):
    node, run = databricks(bundle)
    node.stand_in("/usr/local/bin/nvidia-smi", 'echo "No devices were found"; exit 6')
    ended = run(**SETTINGS)
    refused(node, ended, "step gpu failed: the image has a GPU driver, but no GPU answers: nvidia-smi ended 6")
    assert not node.exists(f"{HOME}/lib")


def hang_in_uv(node):
    """A uv that stops in the middle of its work, as a download would, and says so."""
    node.run("mkfifo", "/started")
    node.write(f"{HOME}/bin/uv", "#!/bin/sh\necho x > /started\nexec sleep 100\n", mode=0o755)


def test_a_run_that_was_killed_half_way_is_finished_by_the_next(databricks, bundle):
    node, run = databricks(bundle)
    hang_in_uv(node)
    process = node.start("bash", "/databricks/init.sh", **SETTINGS)
    assert node.run("cat", "/started")[1] == "x\n"
    os.killpg(process.pid, signal.SIGKILL)
    node.run("pkill", "-KILL", "-f", "server_utils.node|sleep 100")
    process.communicate()
    assert status(node)["state"] == "running"
    assert not node.exists(f"{HOME}/lib")
    (node.root / HOME.lstrip("/") / "bin" / "uv").unlink()
    code, _, err = run(**SETTINGS)
    assert code == 0, err
    assert status(node)["state"] == "ready"


def test_two_runs_at_once_do_the_work_once(databricks, bundle):
    node, _ = databricks(bundle)
    started = [node.start("bash", "/databricks/init.sh", **SETTINGS) for _ in range(2)]
    ended = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0, 0], ended
    assert node.read(f"{HOME}/log/init.log").count("install --quiet") == 2  # the locked packages, and our wheel
    assert shutil.which("bash")  # this machine is as it was


def test_what_cannot_be_copied_beside_the_bundle_stops_no_cluster(databricks, copy_of):
    node, run = databricks(copy_of(without_wheels=True))
    ended = run(**SETTINGS, SPARK_SIDECAR_LOGS="/proc/nowhere")
    assert "log and status could not be copied to /proc/nowhere" in ended[2]
    refused(node, ended, "step uv failed: ")


def test_a_place_that_cannot_be_written_is_named(databricks, copy_of):
    node, run = databricks(copy_of(without_wheels=True))
    assert node.run("sh", "-c", f"mkdir -p {HOME} && mount -t tmpfs -o ro tmpfs {HOME}")[0] == 0
    refused(node, run(**SETTINGS), "step start failed: [Errno 30] Read-only file system")
