"""`spark-sidecar models`: what is printed where, and how it ends."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from integration.storage.places import contents, make_model
from server_utils.cli.main import app


def run(*arguments):
    return CliRunner().invoke(app, ["models", *map(str, arguments)])


@pytest.fixture
def url(tmp_path):
    return tmp_path / "store" / "m"


@pytest.fixture
def pushed(tmp_path, url):
    folder = make_model(tmp_path / "m")
    assert run("push", folder, url).exit_code == 0
    return folder


def test_push_prints_the_url_and_pull_the_folder(pushed, url):
    said = run("pull", url)
    assert (said.exit_code, said.stdout.count("\n")) == (0, 1)
    assert contents(type(url)(said.stdout.strip())) == contents(pushed)


def test_names_are_names_and_the_home_is_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = make_model(tmp_path / "run[1] 100%25 é")
    url = tmp_path / "st[red]ore" / "m[1] 5%20"
    assert run("push", "~/run[1] 100%25 é", "~/st[red]ore/m[1] 5%20").stdout == f"{url}\n"
    for each in (url, "~/st[red]ore/m[1] 5%20", url.as_uri()):
        assert contents(type(url)(run("pull", each).stdout.strip())) == contents(folder)
    assert run("verify", url.as_uri()).exit_code == 0
    assert run("list", "~/st[red]ore").stdout.startswith("m[1] 5%20 ")
    assert run("push", folder.as_uri(), url.with_name("n").as_uri()).exit_code == 0


def test_the_bar_is_on_standard_error(pushed, url):
    said = run("push", pushed, url, "--overwrite")
    assert said.stdout == f"{url}\n"
    assert "saving" in said.stderr


def test_json_is_all_there_is_on_standard_output(pushed, url):
    assert json.loads(run("push", pushed, url, "--overwrite", "--json").stdout) == {"url": str(url)}
    assert json.loads(run("pull", url, "--json").stdout)["path"].endswith("/model")
    assert json.loads(run("verify", url, "--json").stdout) == []
    (found,) = json.loads(run("list", url.parent, "--json").stdout)
    assert (found["name"], found["url"], found["files"], found["size"]) == ("m", str(url), 3, 7)


def test_list_looks_where_models_belong(pushed, url, monkeypatch):
    monkeypatch.setenv("SPARK_SIDECAR_MODELS", str(url.parent))
    assert re.fullmatch(r"m +0\.0 MB +3 files +20\d\d-.*\n", run("list").stdout)


def test_verify_ends_with_1_and_names_what_is_damaged(pushed, url):
    assert run("verify", url).stdout == f"{url} is whole\n"
    next(url.glob("*/config.json")).write_bytes(b"[]")
    said = run("verify", url)
    assert said.exit_code == 1
    assert "config.json: its content is not what was saved" in said.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "why"),
    [(["pull", "STORE/x"], 1, "there is no model at"), (["pull", "ftp://x/y"], 2, "starts with ftp:"),
     (["push", "STORE/nothing", "STORE/y"], 2, "there is no folder")],
)  # fmt: skip
def test_an_error_is_one_line_and_a_status(tmp_path, arguments, status, why):
    words = [word.replace("STORE", str(tmp_path)) for word in arguments]
    code = "from server_utils.cli.main import app; app()"
    done = subprocess.run(
        [sys.executable, "-c", code, "models", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (status, "")
    assert re.search(rf"^error: .*{why}", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr
