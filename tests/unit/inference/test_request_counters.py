from __future__ import annotations

import json
import subprocess

from server_utils.host.processes import ProcessId
from server_utils.inference import request_counters
from server_utils.inference.request_counters import RequestCounters


def ended_worker(folder, **counters):
    """What a worker that has ended has left."""
    with subprocess.Popen(["sleep", "0"]) as process:
        worker = ProcessId.of(process.pid)
    (folder / "workers" / f"{worker.pid}-{worker.started}.json").write_text(json.dumps(counters))


def test_rows_and_errors_of_all_workers_are_added_up_those_of_ended_ones_too(tmp_path):
    counters = RequestCounters(tmp_path)
    ended_worker(tmp_path, active=1, rows=5, errors={"refused": 2})
    counters.add(3, ["refused", "too_long"])
    counters.flush()
    assert request_counters.totals(tmp_path) == {"rows": 8, "errors": {"refused": 3, "too_long": 1}}


def test_a_column_of_an_ended_worker_is_not_active_and_the_caller_always_is(tmp_path):
    counters = RequestCounters(tmp_path)
    ended_worker(tmp_path, active=3, rows=0, errors={})
    assert request_counters.active(tmp_path) == 1
    counters.begin()
    counters.begin()
    assert request_counters.active(tmp_path) == 2
    counters.finish()
    assert request_counters.active(tmp_path) == 1


def test_a_process_has_one_set_of_counters_for_a_server(tmp_path):
    assert request_counters.of(tmp_path) is request_counters.of(tmp_path)


def test_the_file_of_a_worker_is_private_and_is_the_only_one_of_its_folder(tmp_path):
    counters = RequestCounters(tmp_path)
    for rows in range(5):
        counters.add(rows, [])
        counters.flush()
    (file,) = (tmp_path / "workers").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
