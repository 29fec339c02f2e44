"""Nodes of both platforms, and the bundle that they are made ready from: real wheels, built once."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

import pytest

from integration.init_scripts.node_tree import NodeTree, why_not
from server_utils.node import bundle as node_bundle

ROOT = Path(__file__).parents[3]
VOLUME = "/Volumes/main/default/sidecar"
REASON = why_not()
LOGS = "/Volumes/main/default/logs"
# A bucket is a folder here: gcloud storage cat FILE, ls FOLDER/, cp [--recursive] FROM… TO.
SECRET = "a-key-of-this-test"
GCLOUD = f"""
set -euo pipefail
SECRET={SECRET}
words=("${{@//gs:\\/\\/bucket/{VOLUME}}}")
case "$2" in
  versions) echo "$SECRET" ;;
  cat) exec cat "${{words[2]}}" ;;
  ls) ls --file-type "${{words[2]}}" | sed "s,^,$3," ;;
  cp) mkdir -p "${{words[-1]}}"
      for each in "${{words[@]:2:$#-3}}"; do
        [[ "$each" == --recursive ]] || cp -r "$each" "${{words[-1]}}"
      done ;;
esac
"""

# An index or proxy that has nothing: it notes what it is asked first.
LISTEN = """
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
class Nothing(BaseHTTPRequestHandler):
    def do_GET(self):
        with Path("/asked").open("a") as file:
            file.write(f"{self.command} {self.path} {self.headers.get('Authorization', '')}\\n")
        self.send_error(404)
    do_CONNECT = do_GET
server = HTTPServer(("127.0.0.1", 0), Nothing)
print(server.server_port, flush=True)
server.serve_forever()
"""


def listen(node):
    """Have an index or proxy listen on the node, until the node ends. Returns its port."""
    return int(node.start(str(Path(sys._base_executable)), "-c", LISTEN).stdout.readline())


def asked(node):
    """What it was asked first: method, path, authorization."""
    return node.read("/asked").splitlines()[0]


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.node)
            if REASON:
                item.add_marker(pytest.mark.skip(reason=REASON))


def build(name, folder):
    """A bundle for machines without a GPU, for this Python."""
    if sys.version_info[:2] != (3, 11):
        pytest.skip("only Python 3.11 has locks with torch for the CPU")
    return Path(node_bundle.build(name, folder, python="3.11", cpu=True))


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """The bundle of `triton`."""
    return build("triton", tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def copy_of(bundle, tmp_path):
    """A copy of the bundle that may be spoilt; its files are links, so they are replaced and never changed."""

    def copy(*, without_wheels=False):
        target = tmp_path / "copy"
        ignore = shutil.ignore_patterns("wheels", "uv-*") if without_wheels else None
        shutil.copytree(bundle, target, copy_function=_link, ignore=ignore)
        if without_wheels:
            sums = [line for line in (bundle / "SHA256SUMS").read_text().splitlines() if "uv-" not in line]
            (target / "SHA256SUMS").unlink()
            (target / "SHA256SUMS").write_text("\n".join(sums) + "\n")
        return target

    return copy


def _link(source, target):
    Path(target).hardlink_to(source)


@pytest.fixture
def tree(tmp_path):
    """Makes nodes: tree(bundle). All end with the test."""
    made = []

    def make(source):
        made.append(NodeTree(tmp_path / f"node-{len(made)}", [(ROOT, str(ROOT)), (source, VOLUME)]))
        return made[-1]

    yield make
    for each in made:
        each.close()


def give_python(node, path):
    """A Python at a platform's place, with what a runtime ships: the packages of this environment, but not ours."""
    folder = str(Path(path).parents[1])
    base = str(Path(sys._base_executable))
    done = node.run(base, "-m", "venv", "--without-pip", folder)
    assert done[0] == 0, done
    site = f"{folder}/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    node.write(f"{site}/runtime.pth", sysconfig.get_path("purelib") + "\n")


def give_notebook(node):
    """The Python of a notebook: a clone that has the cluster's package folders as plain entries of sys.path.

    Returns its path. Of folders that a .pth file names Python reads no .pth files: ours is not read, nor runtime.pth.
    """
    folder = "/local_disk0/.ephemeral_nfs/envs/pythonEnv-0b5c"
    done = node.run(str(Path(sys._base_executable)), "-m", "venv", "--without-pip", folder)
    assert done[0] == 0, done
    minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
    entries = [f"/databricks/python3/lib/{minor}/site-packages", sysconfig.get_path("purelib")]
    node.write(f"{folder}/lib/{minor}/site-packages/cluster.pth", "\n".join(entries) + "\n")
    return f"{folder}/bin/python"


@pytest.fixture
def databricks(tree):
    """A node of Databricks: databricks(bundle) -> (node, run), run(**variables) -> (status, out, err)."""

    def make(source):
        node = tree(source)
        give_python(node, "/databricks/python3/bin/python")
        node.write("/databricks/init.sh", (ROOT / "init-scripts" / "databricks.sh").read_text(), mode=0o755)

        def run(**variables):
            given = {"SPARK_SIDECAR_LOGS": LOGS, "DATABRICKS_RUNTIME_VERSION": "17.3"} | variables
            return node.run("bash", "/databricks/init.sh", **given)

        return node, run

    return make


@pytest.fixture
def dataproc(tree):
    """A node of Dataproc: dataproc(bundle, role="Worker", framework="triton") -> (node, run)."""

    def make(source, role="Worker", **metadata):
        node = tree(source)
        give_python(node, "/opt/conda/default/bin/python")
        node.stand_in("/usr/share/google/get_metadata_value", 'cat "/etc/metadata/${1#attributes/}"')
        node.stand_in("/usr/local/bin/gcloud", GCLOUD)
        given = {"dataproc-role": role, "framework": "triton", "spark-sidecar-bundle": "gs://bucket"}
        for name, value in (given | metadata).items():
            node.write(f"/etc/metadata/{name}", value)
        node.write("/etc/google-dataproc/startup.conf", "")
        node.write("/opt/action.sh", (ROOT / "init-scripts" / "dataproc.sh").read_text(), mode=0o755)
        return node, lambda **variables: node.run("bash", "/opt/action.sh", **variables)

    return make
