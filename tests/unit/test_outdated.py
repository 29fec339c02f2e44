"""What a weekly run says about the locks, from two small folders of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "outdated.py"


def moved(now, then):
    spec = importlib.util.spec_from_file_location("outdated", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.moved(now, then)


def folder(path, **locks):
    path.mkdir()
    for name, lines in locks.items():
        (path / f"{name}.txt").write_text("".join(f"{line} \\\n    --hash=sha256:00\n" for line in lines))
    return path


def test_what_moved_came_or_went_is_named_and_what_did_not_is_left_out(tmp_path):
    now = folder(tmp_path / "now", vllm=["torch==2.10.0", "gone==1.0", "same==1"], triton=["same==1"])
    then = folder(tmp_path / "then", vllm=["torch==2.11.0", "new==2.0", "same==1"], triton=["same==1"])
    assert moved(now, then) == {
        "vllm": {"gone": (["1.0"], []), "new": ([], ["2.0"]), "torch": (["2.10.0"], ["2.11.0"])},
    }


def test_a_package_with_a_version_for_each_python_moves_when_one_of_them_does(tmp_path):
    now = folder(tmp_path / "now", dev=["gevent==1.0 ; python_version < '3.12'", "gevent==2.0"])
    then = folder(tmp_path / "then", dev=["gevent==1.0 ; python_version < '3.12'", "gevent==3.0"])
    assert moved(now, then) == {"dev": {"gevent": (["1.0", "2.0"], ["1.0", "3.0"])}}
