"""Every table of the command line on a real terminal, 80 and 120 columns wide, and in a pipe."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace

import pytest
from rich.cells import cell_len

from csp.deployer import Plan
from server_utils.cli import clusters
from server_utils.cli.deployment_output import print_plan
from server_utils.clusters import gpu_fit, model_memory, spark_conf
from server_utils.clusters.catalogue import nodes, platforms
from server_utils.storage.save import save_model
from unit.cli.terminal import ESCAPE, in_a_pipe, on_terminal, screen

widths = pytest.mark.parametrize("width", [80, 120])
HEADINGS = {"shape", "name"}
LONG_NAME = "mistralai/Mixtral-8x22B-Instruct-v0.1"
BROKEN_NAME = "damaged"

TABLES = """
from server_utils.cli.output import Column, print_tables
columns = Column("name"), Column("empty"), Column("GiB", right=True), Column("note")
rows = [("a-model-with-a-long-name", "", "1.5", "one"), ("模型", "", "12.0", "")]
print_tables(columns, {"here": rows, "there": rows[:1]})
"""

WIDE_CELLS = """
from server_utils.cli.output import Column, print_tables
columns = Column("what"), Column("GiB", right=True), Column("value")
print_tables(columns, {"": [("state", "1 234", "starting: 新 nodes are found"), ("a-page", "2", "short")]})
"""

TRITON_DEMO = """
from pathlib import Path
from server_utils.demo.triton_report import Answer, Report, Search, print_tables
answers = [Answer(7, 0.734, -1.23, "a review of some length that goes on [and on] for more than a line of text " * 2)]
searches = [Search("a boring film with a weak plot", answers)]
print_tables(Report(6000, 10605, 1234.5, 2, 0, 12.3, 45.6, Path("/a/parquet"), Path("/a/plot.png"), searches))
"""

LLM_DEMO = """
from pathlib import Path
from server_utils.demo.llm_report import LLMReport, Person, print_tables
from server_utils.demo.sentiment import Cell, Judged
cells = [Cell(human, model, 150) for human in ("positive", "negative") for model in ("positive", "negative")]
judged = [Judged(1, 2.5, "a review that goes on for more than a line of text " * 3, "positive", "positive")]
people = [Person("Maximilian Featherstonehaugh, who is 41, lives in San Bernardino with a dog and two cats.",
                 "Maximilian Featherstonehaugh", 41, "San Bernardino", True)]
print_tables(LLMReport(600, 12.3, 123456, 1200, 12345.6, 123.4, 0.97, 0.86, 2, 0, 34.5, 120.0,
                       Path("/a/parquet"), Path("/a/plot.png"), cells, judged, judged, people))
"""

PLAN = """
from csp.deployer import Plan
from server_utils.cli.deployment_output import print_plan
request = {"spark_version": "17.3.x-gpu-ml-scala2.13", "num_workers": 2, "enable_elastic_disk": True, "custom_tags": {}}
files = {"SHA256SUMS": 90, "spark_sidecar-0.1.0.dev0-py3-none-any.whl": 1234567}
folder = "/Volumes/research_and_development/machine_learning/sidecar/spark-sidecar/files-0123456789abcdef"
place = "https://dbc-01234567-89ab.cloud.databricks.com, as maximilian.featherstonehaugh@example.com"
print_plan(Plan("reviews", place, "1 x g5.2xlarge, 2 x g5.4xlarge", request, folder, files), [], "9 USD", as_json=False)
"""

STATUS = """
from csp.cloud import ClusterState, Phase
from server_utils.cli.deployment_output import print_cluster
detail = "PENDING: Finding instances for new nodes, acquiring more instances if necessary. " * 2
print_cluster(ClusterState("1127-104401-abcdefgh", "reviews", Phase.STARTING, detail.strip(), "me@example.com",
                           nodes="1 x g5.2xlarge, 2 x g5.4xlarge", workers=2, ready=1,
                           root="gs://my-bucket/spark-sidecar/reviews", page="https://example.com/" + "compute/" * 20))
"""

HELP = """
from server_utils.cli.main import app
for words in (
    "--help", "shapes --help", "fit --help", "cluster --help", "doctor --help", "demo --help", "env --help",
    "env build --help", "env list --help", "wheelhouse build --help", "assets fetch --help", "models --help",
    "models push --help", "models pull --help", "models list --help", "models verify --help",
    *(f"{cloud} {verb}--help" for cloud in ("databricks", "dataproc")
      for verb in ("", "plan ", "up ", "run ", "status ", "logs ", "down ")), "databricks bundle --help",
):
    app(words.split(), prog_name="spark-sidecar", standalone_mode=False)
"""
HELPS = 31  # how many HELP shows


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A folder of models: a short name, a long one, and one that cannot be loaded."""
    root, model = tmp_path_factory.mktemp("store"), tmp_path_factory.mktemp("model")
    (model / "config.json").write_text("{}")
    for name in ("small", LONG_NAME):
        save_model(model, root / name)
    (root / BROKEN_NAME).mkdir()
    (root / BROKEN_NAME / "manifest.json").write_text("{")
    return root


def tables(store):
    """Arguments of commands that print tables, and the words that must be whole in each."""
    catalogue = {word for each in nodes() for word in (each.platform, each.shape, each.node_type)}
    smallest = {word for each in smallest_fits("Qwen2.5-72B") for word in (each.platform, each.shape, each.node_type)}
    return {
        ("shapes",): catalogue | {"GiB", "Qwen2.5-72B", "Llama-3.1-8B"},
        ("fit", "Qwen2.5-72B"): smallest,
        ("fit", "Qwen2.5-7B"): set(platforms()),
        ("fit", "Qwen2.5-72B", "--all"): catalogue,
        ("fit", "Qwen2.5-72B", "--context", "131072", "--sequences", "99", "--all"): catalogue,
        ("doctor",): {"Python", "Java", "pyspark", "GPU"},
        ("models", "list", str(store)): {"small", LONG_NAME, f"{BROKEN_NAME}:"},
    }


def smallest_fits(model, context=6600):
    """Of each platform the fitting shape with the least GPU memory, on the fewest GPUs."""
    # What can be had for certain comes first, and of two equal nodes the recommended one.
    size = {
        (each.platform, each.shape): (
            each.spot_only or not each.documented, each.gpus * each.gpu_memory_gib, each.gpus, not each.recommended,
        )
        for each in nodes()
    }  # fmt: skip
    fits = [each for each in gpu_fit.check(model_memory.read(model), gpu_fit.Demand(context)) if each.fits]
    return [
        min((each for each in fits if each.platform == platform), key=lambda each: size[each.platform, each.shape])
        for platform in platforms()
    ]


def assert_readable(lines, words, width):
    text = "\n".join(lines)
    assert "…" not in text
    assert "..." not in text
    assert words <= {word for line in lines for word in line.split()}
    # A fix of the doctor and an error stay on one line: they are there to be copied. So does a long path.
    shown = [line for line in lines if not line.lstrip().startswith(("fix: ", "error: ")) and " " in line.strip()]
    assert max(map(cell_len, shown)) <= width, "the terminal breaks such a line anywhere"
    assert re.search(r"[│┃|]", text) is None


@widths
def test_no_table_is_cut_or_broken_on_a_terminal(store, width):
    for arguments, words in tables(store).items():
        lines = screen(*arguments, width=width)
        assert_readable(lines, words, width)


def test_a_pipe_gets_a_row_per_line_without_colour_or_spaces_at_the_end(store):
    for arguments, words in tables(store).items():
        text = in_a_pipe(*arguments).decode()
        assert "\x1b" not in text
        assert not re.search(r"[ \r]$", text, re.MULTILINE)
        assert {word.rstrip(":") for word in words} <= set(text.split())


def test_a_pipe_is_as_it_is_whatever_the_width_of_a_terminal_is_said_to_be():
    assert in_a_pipe("shapes", COLUMNS="40") == in_a_pipe("shapes") == in_a_pipe("shapes", NO_COLOR="1")


@widths
def test_rows_stand_below_their_platform_with_a_heading_that_holds_the_unit(width):
    lines = screen("shapes", width=width)
    for platform in platforms():
        below = lines[lines.index(platform) + 1 :]
        assert below[0].split() == ["shape", "node", "type", "GPU", "GiB", "vCPUs", "RAM", "GiB", "largest", "model"]
        rows = below[1 : below.index("")]
        assert [line.split()[0] for line in rows] == [each.shape for each in nodes(platform)]
        assert not any("GiB" in line or platform in line for line in rows)


def test_columns_are_aligned_over_all_platforms():
    lines = screen("shapes", width=80)
    assert len({line.index("node type") for line in lines if line.startswith("shape ")}) == 1
    shown = [
        line for line in lines if re.match(r"(t4|a10|l4|l40s|a100|h100|h200|b200|rtxpro)\S* +\S+ +\d+ x \d+ ", line)
    ]
    assert len(shown) == len(nodes())
    assert len({re.search(r"\d+ x \d+ +\d+ +\d+", line).end() for line in shown}) == 1


@pytest.mark.parametrize("model", ["Qwen2.5-0.5B", "Qwen2.5-7B", "Qwen2.5-32B", "Qwen2.5-72B"])
def test_fit_shows_the_smallest_shape_of_each_platform_and_the_others_by_all(model):
    smallest = smallest_fits(model)
    lines = screen("fit", model, width=80)
    rows = [lines[lines.index(platform) + 2].split() for platform in platforms()]
    assert [(row[0], row[1]) for row in rows] == [(each.shape, each.node_type) for each in smallest]
    assert sum(line.startswith("shape ") for line in lines) == len(platforms())
    every = screen("fit", model, "--all", width=80)
    assert [every[every.index(platform) + 2].split()[0] for platform in platforms()] == [row[0] for row in rows]
    for platform in platforms():
        start = every.index(platform) + 2
        table = every[start : every.index("", start)]
        assert sorted(line.split()[0] for line in table) == sorted(each.shape for each in nodes(platform))


def test_fit_says_how_the_gpus_reach_each_other_that_a_model_is_spread_over():
    text = " ".join(" ".join(screen("fit", "Qwen2.5-72B", "--all", width=120)).split())
    beginnings = ("GPUs joined by NVLink: ", "GPUs without NVLink, so slower ", "GPUs that may have ")
    joined, slower, unknown = (re.search(f"{each}.*?\\.", text)[0] for each in beginnings)
    assert "a100x8 (databricks-aws, databricks-azure, databricks-gcp, dataproc)" in joined
    assert "l40sx4 (databricks-aws)" in slower
    assert "`nvidia-smi topo -m`" in unknown
    assert "h100-94x2 (databricks-azure)" in unknown
    assert "NVLink" not in " ".join(screen("fit", "Qwen2.5-0.5B", width=120))


@pytest.mark.parametrize("words", [("shapes",), ("fit", "Qwen2.5-72B", "--all")], ids=["shapes", "fit"])
def test_notes_name_the_platform_of_a_shape_only_where_there_are_several(words):
    one = " ".join(screen(*words, "--platform", "dataproc", width=80))
    assert "(dataproc)" not in one
    assert "without NVLink" in one
    assert "l4x8 (databricks-aws, databricks-gcp, dataproc)" in " ".join(" ".join(screen(*words, width=80)).split())


def test_fit_leaves_out_the_column_of_what_is_lacking_where_nothing_lacks():
    assert not any("lacks" in line for line in screen("fit", "Qwen2.5-0.5B", "--all", width=80))
    heading = next(line for line in screen("fit", "Qwen2.5-72B", "--all", width=80) if line.startswith("shape "))
    assert heading.endswith("lacks GiB per GPU")


def test_fit_shows_the_closest_shape_where_none_fits_and_says_so():
    arguments = ("fit", "Llama-3.1-70B", "--context", "131072", "--sequences", "99", "--platform", "databricks-azure")
    found = gpu_fit.check(model_memory.read("Llama-3.1-70B"), gpu_fit.Demand(131072, 99), platform="databricks-azure")
    closest = gpu_fit.closest(found)
    lines = screen(*arguments, width=80)
    (row,) = [line.split() for line in lines if line.startswith(f"{closest.shape} ")]
    assert row == [closest.shape, closest.node_type, str(closest.tensor_parallel), str(closest.sequences),
                   f"{closest.short_gib:.1f}"]  # fmt: skip
    assert "It fits on 0 of" in "".join(lines)
    assert "or else the closest" in " ".join(" ".join(lines).split())


def test_fit_says_why_it_uses_fewer_gpus_than_there_are():
    text = " ".join(screen("fit", "Qwen2.5-7B", "--context", "131072", "--sequences", "40", "--all", width=120))
    assert "GPUs used: 28 heads cannot be spread over all 8." in text


def test_a_shape_that_lacks_next_to_nothing_comes_after_those_that_fit():
    fits = gpu_fit.check(model_memory.read("Qwen2.5-72B"), gpu_fit.Demand(6600), platform="databricks-gcp")
    almost = [replace(each, short_gib=0.0) for each in fits]
    (shown,) = clusters._by_platform(almost).values()
    assert [each.fits for each in shown] == sorted((each.fits for each in fits), reverse=True)


@pytest.mark.parametrize("width", [40, 60])
def test_on_a_narrow_screen_the_first_cell_has_a_line_of_its_own(width):
    lines = screen("shapes", "--platform", "databricks-azure", width=width)
    at = lines.index("h100-94x2")
    assert lines[at + 1].split()[0] == "Standard_NC80adis_H100_v5"


def test_an_empty_column_is_left_out_and_wide_characters_are_counted_as_two():
    lines = screen(width=80, code=TABLES)
    assert "empty" not in "".join(lines)
    assert len({cell_len(line[: line.index(number)]) + len(number)
                for line, number in zip(lines[2:4], ("1.5", "12.0"), strict=True)}) == 1  # fmt: skip
    assert [line.split()[0] for line in lines if line] == [
        "here", "name", "a-model-with-a-long-name", "模型", "there", "name", "a-model-with-a-long-name",
    ]  # fmt: skip


def test_a_cell_that_is_too_wide_breaks_between_words_within_its_column():
    assert screen(width=30, code=WIDE_CELLS) == [
        "what      GiB  value",
        "state   1 234  starting: 新",
        "               nodes are found",
        "a-page      2  short",
    ]
    assert screen(width=23, code=WIDE_CELLS)[:4] == ["what", "    GiB  value", "state", "  1 234  starting: 新"]


@widths
def test_models_have_a_table_with_a_heading_and_below_it_what_is_damaged(store, width):
    lines = screen("models", "list", str(store), width=width)
    assert lines[0].split() == ["name", "MB", "files", "saved", "(UTC)"]
    assert [line.split()[0] for line in lines[1:3]] == [LONG_NAME, "small"]
    assert re.fullmatch(r"\S+ +0\.0 +1  20\d\d-\d\d-\d\d \d\d:\d\d", lines[1])
    assert lines[3].startswith(f"{BROKEN_NAME}: the manifest of")


def test_the_doctor_breaks_between_words_and_leaves_a_fix_whole(monkeypatch):
    lines = screen("doctor", width=80, JAVA_HOME="/no/such/jdk")
    piped = in_a_pipe("doctor", JAVA_HOME="/no/such/jdk").decode()
    (fix,) = re.findall(r"^ +fix: (.*openjdk.*)$", piped, re.MULTILINE)
    assert f"fix: {fix}" in "\n".join(lines)
    (level,) = {line.split()[0] for line in lines if "Java" in line.split()[:2]}
    assert level == "error"


@widths
@pytest.mark.parametrize(
    ("code", "words"),
    [
        (TRITON_DEMO, {"similarity", "score", "rows/s", "restarts", "10,605", "0.73", "-1.2", "/a/plot.png"}),
        (LLM_DEMO, {"tokens/s", "accuracy", "86%", "positive", "negative", "+2.5", "Featherstonehaugh", "41"}),
    ],
    ids=["triton", "llm"],
)
def test_the_results_of_the_demo_are_not_cut(code, words, width):
    assert_readable(screen(width=width, code=code), words, width)


@widths
@pytest.mark.parametrize(
    ("code", "words"),
    [
        (PLAN, {"reviews", "9", "true", "1,205.6", "spark_sidecar-0.1.0.dev0-py3-none-any.whl"}),
        (STATUS, {"starting", "g5.4xlarge", "necessary.", "gs://my-bucket/spark-sidecar/reviews"}),
    ],
    ids=["plan", "status"],
)
def test_what_is_said_of_a_deployment_is_not_cut_or_broken(code, words, width):
    assert_readable(screen(width=width, code=code), words, width)


@pytest.mark.parametrize(("minutes", "ends"), [(60, "after 60 minutes"), (0, "never")])
def test_a_plan_says_once_what_every_cloud_shares_and_hides_nothing_else(capsys, minutes, ends):
    shared = {"cluster_name": "n", "spark_version": "17.3", "autotermination_minutes": minutes}
    request = shared | {"num_workers": minutes, "min_workers": 0, "spark_conf": {}}
    print_plan(Plan("n", "p", "", request, "f", {}, "vllm", "17.3", minutes), [], "", as_json=False)
    rows = dict(re.split(" {2,}", line, maxsplit=1) for line in capsys.readouterr().out.splitlines() if "  " in line)
    assert rows["ends without work"] == ends
    assert (rows["num_workers"], rows["min_workers"]) == (str(minutes), "0")
    assert set(rows) & {*shared, "spark_conf"} == set()


@widths
def test_the_bar_of_a_transfer_shows_all_of_its_numbers(store, width):
    text = on_terminal("models", "verify", str(store / "small"), width=width).decode()
    last = ESCAPE.sub("", text).replace("\n", "\r").split("\r")
    assert "…" not in text
    assert all(cell_len(line) <= width for line in last)
    assert any(re.search(r"verifying .* 2/2 bytes .*\d:\d\d:\d\d", line) for line in last)


@widths
def test_help_fits_the_terminal_and_is_not_cut(width):
    lines = screen(width=width, code=HELP)
    assert sum("Usage: spark-sidecar" in line for line in lines) == HELPS
    assert "…" not in "\n".join(lines)
    assert max(map(cell_len, lines)) <= width


@pytest.mark.parametrize(
    ("command", "variables"),
    [(("shapes",), {"NO_COLOR": "1"}), (("doctor",), {"NO_COLOR": "1"}), (("shapes",), {"TERM": "dumb"})],
    ids=str,
)
def test_nothing_is_coloured_where_it_is_not_wanted(command, variables):
    assert b"\x1b" in on_terminal(*command, width=80)
    assert b"\x1b" not in on_terminal(*command, width=80, **variables)


@pytest.fixture
def foreign(tmp_path):
    """A folder of models with one whose name not every locale can show."""
    (tmp_path / "模型").mkdir()
    (tmp_path / "模型" / "manifest.json").write_text("{")
    return tmp_path


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_locale_without_the_characters_shows_their_code_points(store, foreign, encoding):
    locale = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    for arguments, words in tables(store).items():
        if arguments != ("doctor",):
            assert_readable(screen(*arguments, width=80, **locale), words, 80)
    assert in_a_pipe(code=HELP, **locale).count(b"Usage: ") == HELPS
    assert screen("models", "list", str(foreign), width=80, **locale)[0].startswith(r"\u6a21\u578b: ")


def test_a_locale_with_the_characters_shows_them(foreign):
    assert screen("models", "list", str(foreign), width=80, LC_ALL="C.UTF-8")[0].startswith("模型: ")


def test_json_is_byte_for_byte_the_same_on_any_terminal_and_in_any_locale(store):
    model = model_memory.read("Qwen2.5-72B")
    fits = [asdict(each) for each in gpu_fit.check(model, gpu_fit.Demand(6600))]
    expected = f"{json.dumps(fits, indent=2)}\n".encode()
    for extra in ([], ["--all"]):
        assert in_a_pipe("fit", "Qwen2.5-72B", "--json", *extra) == expected
        assert on_terminal("fit", "Qwen2.5-72B", "--json", *extra, width=80).replace(b"\r\n", b"\n") == expected
    for command in (["shapes"], ["doctor"], ["models", "list", str(store)], ["cluster", "dataproc", "l4x1",
                    "--framework", "vllm"]):  # fmt: skip
        piped = in_a_pipe(*command, "--json")
        assert piped == f"{json.dumps(json.loads(piped), indent=2)}\n".encode()
        if command != ["doctor"]:  # how much of a disk is free changes while it is read
            assert on_terminal(*command, "--json", width=80, NO_COLOR="1").replace(b"\r\n", b"\n") == piped


def test_json_of_shapes_is_the_catalogue_with_conf_and_models():
    rows = json.loads(in_a_pipe("shapes", "--json"))
    keys = [*asdict(nodes()[0]), "conf", "models"]
    assert [list(row) for row in rows] == [keys] * len(nodes())
    assert [row["conf"] for row in rows] == [spark_conf.recommended(each) for each in nodes()]


def test_the_command_of_a_cluster_is_whole_whatever_the_width():
    arguments = ("cluster", "dataproc", "l4x1", "--framework", "vllm")
    assert on_terminal(*arguments, width=80).replace(b"\r\n", b"\n").endswith(in_a_pipe(*arguments))
