"""Processes that are killed in the middle, and many that ask at once."""

from __future__ import annotations

import json
import subprocess

import pytest
from support.fakes import kill, run_python

from integration.storage.faulty_proxy import Fault
from integration.storage.places import contents
from server_utils import ModelNotFoundError, local_model, save_model
from server_utils.host.processes import ProcessId, wait_until

DATA = r"model\.safetensors"
HERE = "import sys; from integration.storage import loopback; from server_utils import local_model, save_model; "
LOAD = HERE + "print(local_model(sys.argv[1]))"
SAVE = HERE + "save_model(sys.argv[1], sys.argv[2])"


class Gate:
    """Holds requests up until the process that made them is dead."""

    def __init__(self):
        self.reached = self.open = False

    def wait(self):
        self.reached = True
        wait_until(lambda: self.open, 60)


@pytest.fixture
def gate():
    found = Gate()
    yield found
    found.open = True


def kill_at(gate, process):
    assert wait_until(lambda: gate.reached, 60)
    kill(ProcessId.of(process.pid))
    process.wait()
    gate.open = True


def test_a_download_that_is_killed_leaves_nothing_visible_and_the_next_one_goes_on(
    strict_cloud, model, gate, own_cache
):
    url, proxy = save_model(model, f"{strict_cloud.root}/m"), strict_cloud.proxy
    proxy.plan(Fault("", path=DATA, skip=1, times=-1, call=gate.wait))  # the first part arrives, the second is held up
    process = run_python(LOAD, url)
    assert wait_until(lambda: any(part_sizes(own_cache)), 60)
    kill_at(gate, process)
    assert [each.suffix for each in own_cache.iterdir() if each.name != "locks"] == [".part"]
    proxy.plan()
    assert contents(local_model(url)) == contents(model)
    assert proxy.count("GET", DATA) < 3, "the part that was there came again"
    assert [each.suffix for each in own_cache.iterdir() if each.name != "locks"] == [""]


def part_sizes(folder):
    """Bytes of the large file on the disk, once a whole part of it can be there."""
    for path in folder.glob("*.part/model/model.safetensors"):
        yield path.stat().st_blocks * 512 >= 16 << 20


def test_an_upload_that_is_killed_leaves_nothing_visible_and_the_next_one_goes_on(strict_cloud, model, gate):
    url, proxy = f"{strict_cloud.root}/m", strict_cloud.proxy
    proxy.plan(Fault("", method="PUT", path="partNumber=2|upload_id", times=-1, call=gate.wait))
    process = run_python(SAVE, str(model), url)
    assert wait_until(lambda: len(strict_cloud.keys(url)) == 3, 60)
    kill_at(gate, process)
    with pytest.raises(ModelNotFoundError, match=r"but no manifest\. Either its save has not ended"):
        local_model(url)
    proxy.plan()
    save_model(model, url)
    assert not proxy.count("PUT", "config.json")
    assert contents(local_model(url)) == contents(model)
    folders = {key.partition("/")[0] for key in strict_cloud.keys(url)} - {"manifest.json"}
    assert len(folders) == 1


def test_a_replacement_that_is_killed_leaves_the_old_model(strict_cloud, model, gate):
    url, proxy = save_model(model, f"{strict_cloud.root}/m"), strict_cloud.proxy
    before = contents(model)
    (model / "config.json").write_text("new")
    proxy.plan(Fault("", method="PUT", path="partNumber=2|upload_id", times=-1, call=gate.wait))
    kill_at(gate, run_python(SAVE.replace(")", ", overwrite=True)"), str(model), url))
    assert contents(local_model(url)) == before


def test_eight_processes_at_once_cost_one_read(strict_cloud, model):
    url, proxy = save_model(model, f"{strict_cloud.root}/m"), strict_cloud.proxy
    proxy.plan()
    running = [run_python(LOAD, url, stdout=subprocess.PIPE) for _ in range(8)]
    answers = {process.communicate(timeout=120)[0] for process in running}
    assert [process.returncode for process in running] == [0] * 8
    assert len(answers) == 1
    assert contents(local_model(url)) == contents(model)
    assert proxy.count("GET", DATA) == 3, "one read of each part"
    assert proxy.count("GET", "config.json") == 1


def test_those_who_ask_while_an_answer_is_on_its_way_do_not_ask_the_store_again(strict_cloud, model, gate, tmp_path):
    url, proxy = save_model(model, f"{strict_cloud.root}/m"), strict_cloud.proxy
    proxy.plan(Fault("", path="manifest.json", call=gate.wait))
    running = [run_python(f"{HERE}open(sys.argv[2], 'w'); print(local_model(sys.argv[1]))", url, str(tmp_path / f"{n}"))
               for n in range(4)]  # fmt: skip
    assert wait_until(lambda: gate.reached and all((tmp_path / f"{n}").exists() for n in range(4)), 60)
    gate.open = True
    assert [process.wait(timeout=120) for process in running] == [0] * 4
    assert proxy.count("GET", "manifest.json") <= 2


def test_a_model_in_use_is_not_removed_and_an_unused_one_is(tmp_path, monkeypatch, own_cache):
    urls = []
    for name in ("old", "used", "new"):
        (tmp_path / name).write_bytes(name[:1].encode() * (1 << 20))
        urls.append(save_model(tmp_path / name, tmp_path / "store" / name))
    monkeypatch.setenv("SPARK_SIDECAR_CACHE_GB", "0.0025")  # room for two
    old = run_python(LOAD, urls[0], stdout=subprocess.PIPE)
    assert old.communicate(timeout=60)[0]
    user = run_python(LOAD + "; sys.stdout.flush(); sys.stdin.read()", urls[1],
                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    used = user.stdout.readline().strip()
    assert contents(local_model(urls[2])) == {"new": b"n" * (1 << 20)}
    sizes = [json.loads(path.read_text())["files"][0]["name"] for path in own_cache.glob("*/manifest.json")]
    assert sorted(sizes) == ["new", "used"]
    assert run_python(f"import os; assert os.listdir({used!r})").wait(timeout=60) == 0
    user.communicate("")
