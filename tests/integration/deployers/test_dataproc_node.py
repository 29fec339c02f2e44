"""The init script that `up` sends, run as root on a node that is thrown away: what it says there reaches the user."""

from __future__ import annotations

import pytest
from support.dataproc_server.pace import Pace
from support.dataproc_server.server import DataprocServer
from unit.csp.deployments import Recorder

from csp.cloud import Deployment
from csp.cloud_session import Session
from csp.dataproc.deployer import connect
from csp.deployer import init_script, logs
from csp.up import up
from integration.init_scripts.conftest import GCLOUD, REASON, ROOT, VOLUME, give_python
from integration.init_scripts.node_tree import NodeTree
from integration.storage import servers
from server_utils.clusters.cluster import cluster
from server_utils.errors import DeploymentError
from server_utils.node import bundle

pytestmark = [pytest.mark.node, pytest.mark.skipif(bool(REASON), reason=REASON or "")]


class TreeNodes:
    """Runs initialization actions for real, with the files of the bucket, on nodes without a network."""

    def __init__(self, bucket, folder):
        self._bucket, self._folder = bucket, folder

    def __call__(self, machines, role, workers, action):
        address = machines.config.gce_cluster_config.metadata["spark-sidecar-bundle"]
        files = self._fetched(address)
        node = NodeTree(self._folder / "node", [(ROOT, str(ROOT)), (files, VOLUME)])
        try:
            give_python(node, "/opt/conda/default/bin/python")
            node.stand_in("/usr/share/google/get_metadata_value", 'cat "/etc/metadata/${1#attributes/}"')
            node.stand_in("/usr/local/bin/gcloud", GCLOUD.replace("gs:\\/\\/bucket", address.replace("/", "\\/")))
            given = {"dataproc-role": role, "dataproc-worker-count": str(workers)}
            for name, value in (dict(machines.config.gce_cluster_config.metadata) | given).items():
                node.write(f"/etc/metadata/{name}", value)
            node.write("/etc/google-dataproc/startup.conf", "")
            node.write("/action.sh", (files / action.rpartition("/")[2]).read_text(), mode=0o755)
            status, out, err = node.run("bash", "/action.sh")
        finally:
            node.close()
        return status, out + err

    def _fetched(self, address):
        folder = self._folder / "files"
        prefix = address.removeprefix(f"gs://{self._bucket.name}/") + "/"
        for blob in self._bucket.list_blobs(prefix=prefix):
            path = folder / blob.name.removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(blob.download_as_bytes())
        return folder


@pytest.fixture
def server(tmp_path, monkeypatch):
    with servers.fake_gcs() as port:
        servers.make_gcs_bucket(port, "bucket-1")
        made = DataprocServer(port, "bucket-1")
        made.clusters.nodes = TreeNodes(made.bucket, tmp_path)
        for name, value in made.environ.items():
            monkeypatch.setenv(name, value)
        yield made
        made.close()


def test_a_node_without_a_way_to_the_package_index_ends_up_with_the_fix(server, tmp_path):
    session = Session(connect(bucket="bucket-1"), Recorder(), clock=Pace(server).clock())
    files = bundle.build_small(tmp_path / "bundle", None)
    nodes = (cluster("dataproc", "l4x1", "triton"),)
    with pytest.raises(DeploymentError, match="no route to the package index: give the nodes NAT") as caught:
        up(session, Deployment("mine", nodes, files, init_script("dataproc")), keep=True)
    assert "INIT_ACTION" in str(caught.value)
    assert "no route to the package index" in logs(session, "mine", ["init"])[0].text
