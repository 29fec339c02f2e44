"""Runs the driver of a job as Dataproc's master does: by spark-submit in client mode, on a real Spark."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pyspark

ROOT = Path(__file__).parents[3]
_SETTINGS = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.log.level": "OFF",
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
}
_LIMIT_S = 300


class SparkDriver:
    """A `driver` for jobs.

    Attributes:
        bucket: where their files are.
        environ: what tells clients of the servers.
        submit: the words before the main file; a program without Spark needs Python alone.
    """

    def __init__(self, bucket, environ, submit=None):
        self._bucket, self._environ, self._submit = bucket, environ, submit or _spark_submit

    def __call__(self, cluster, job, write, cancelled):
        with tempfile.TemporaryDirectory(prefix="job-", dir="/tmp") as folder:
            main = self._fetched(job.pyspark_job.main_python_file_uri, Path(folder))
            command = [*self._submit(cluster), str(main), *job.pyspark_job.args]
            process = subprocess.Popen(
                command, cwd=folder, env=self._environment(cluster, job), text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            for line in process.stdout:
                write(line)
                if cancelled.is_set():
                    process.terminate()
            return process.wait(_LIMIT_S)

    def _fetched(self, address, folder):
        bucket, _, key = address.removeprefix("gs://").partition("/")
        path = folder / Path(key).name
        path.write_bytes(self._bucket.client.bucket(bucket).blob(key).download_as_bytes())
        return path

    def _environment(self, cluster, job):
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("CLOUDSDK_", "SPARK_REMOTE"))}
        ours = {name: self._environ[name] for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_CLOUD_PROJECT")}
        python = {"PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "SPARK_LOCAL_IP": "127.0.0.1"}
        return kept | ours | python | {"DATAPROC_JOB_ID": job.reference.job_id}


def _spark_submit(cluster):
    """With the cluster's own Spark properties, but those of its size, YARN and GPUs."""
    properties = dict(cluster.config.software_config.properties)
    conf = {key.removeprefix("spark:"): value for key, value in properties.items() if key.startswith("spark:")}
    left = ("spark.executor.", "spark.task.", "spark.plugins", "spark.dynamicAllocation")
    conf = {key: value for key, value in conf.items() if not key.startswith(left)} | _SETTINGS
    words = [f"--conf={key}={value}" for key, value in conf.items()]
    return [str(Path(pyspark.__file__).parent / "bin" / "spark-submit"), "--master=local-cluster[2,1,1024]", *words]
