"""Long jobs: what is written, what is asked again, and what is refused. Real Spark, real servers."""

from __future__ import annotations

import functools
import itertools
import json
import shutil
import signal

import pyarrow.orc as po
import pyarrow.parquet as pq
import pytest
from pyspark.errors import AnalysisException
from pyspark.sql import functions
from support.fakes import processes_of

from integration.spark import tiny_models
from integration.spark.conftest import once, own_session, run_as_user
from server_utils import ConfigurationError, OutputError, TritonServerManager, by_prefix
from server_utils.host.processes import wait_until
from server_utils.jobs.output import Output

ROWS = 200


@pytest.fixture(scope="module")
def servers(spark):
    with TritonServerManager("runs", spark=spark) as manager:
        manager.start_servers(tiny_models.many)
        yield manager


@pytest.fixture
def run(spark, servers, tmp_path):
    """run(frame): rows with numbers, and twice as much beside each."""

    def call(frame=None, *, path=None, new="twice", of="id", **options):
        column = servers.tensors(of, model="picky", on_error="null")
        frame = spark.range(0, ROWS, 1, 4) if frame is None else frame
        return servers.run(frame, {new: column}, path or tmp_path / "out", **{"key": "id", "parts": 1} | options)

    return call


def asked(servers):
    return sum(server.rows for server in servers.status())


def written(tmp_path):
    """Every row once, with its answer or with null where the model refused it."""
    found = pq.read_table(tmp_path / "out").to_pylist()
    ids = sorted(row["id"] for row in found)
    assert len(ids) == len(set(ids))
    assert all(row["twice"] == (None if row["id"] % 10 == 3 else 2 * row["id"]) for row in found)
    return ids


def test_every_row_is_written_once_with_its_answer_and_a_second_call_asks_nothing(run, servers, tmp_path):
    first = run(parts=2)
    before = asked(servers)
    second = run(parts=2)

    assert (first.rows, first.already_written, first.written, first.errors) == (ROWS, 0, ROWS, {"refused": ROWS // 10})
    assert (second.rows, second.already_written, second.written) == (ROWS, ROWS, 0)
    assert written(tmp_path) == list(range(ROWS))
    assert asked(servers) == before


PATHS = ["back\\slash [", "a[b/c{d", "co:lon 50%20 #x", "k=1"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("{a,b} st*r?", "parquet"), ("run[1]", "orc"), *(pytest.param(name, "parquet", marks=once) for name in PATHS)],
)
def test_the_path_is_what_it_says(run, servers, tmp_path, name, kind):
    """And no pattern: what it would fit is nothing to the run."""
    spark = servers._spark
    other = tmp_path / name.replace("[1]", "1").replace("{a,b}", "a").replace("*", "t").replace("?", "x")
    if other != tmp_path / name:
        spark.range(7).write.format(kind).save(str(other))
    first = run(spark.range(9), path=tmp_path / name, format=kind, parts=1)
    before = asked(servers)
    second = run(spark.range(10), path=str(tmp_path / name), format=kind, parts=1)

    assert (first.already_written, first.written, second.already_written, second.written) == (0, 9, 9, 1)
    assert asked(servers) - before == 1
    files = sorted((tmp_path / name).glob(f"*.{kind}"))
    tables = [(pq.ParquetFile if kind == "parquet" else po.ORCFile)(file).read() for file in files]
    assert sorted(number for table in tables for number in table.to_pydict()["id"]) == list(range(10))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "Spark cannot use the path ''.*empty string.*Nothing was sent"),
        ("co:lon", "Spark cannot use the path 'co:lon'.*Relative path in absolute URI"),
        ("C:\\out", "Spark cannot use the path"),
        ("nosuch://host/out", 'Spark cannot use the path.*No FileSystem for scheme "nosuch"'),
        ("file://host/out", "Spark cannot use the path.*expected: file:///"),
        ("~/out", r"a folder that is called ~; write '/.*/out'"),
        (b"/out", "must be a text or a pathlib.Path; it is b'/out'"),
    ],
)
def test_a_path_that_spark_cannot_use_is_refused_before_anything_is_asked(spark, servers, path, message):
    before = asked(servers)
    with pytest.raises(ConfigurationError, match=message):
        servers.run(spark.range(3), {"twice": servers.tensors("id", model="picky")}, path, key="id")
    assert asked(servers) == before


def test_what_was_written_and_is_not_there_is_noticed_before_more_is_asked(spark, tmp_path):
    output = Output(spark.range(3), tmp_path / "out", "parquet", ["id"])
    assert output.keys().count() == 0
    output.append(spark.range(3))
    assert output.keys().count() == 3
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(OutputError, match=r"what was written to .*/out cannot be found there"):
        output.keys()


ODD = ["meta.source", "meta", "a`b", "`x`", "", " ", "*", "ü é", "a,b;{c}(d)=\n\t", ".", "ours", "key_0", "part"]


def odd(spark, names, rows):
    """A frame with a column of each name, and a struct that is called as the first part of one."""
    columns = [
        functions.col("id").cast("int").alias(name)
        if name != "meta"
        else functions.struct(functions.lit("in").alias("source")).alias("meta")
        for name in names
    ]
    return spark.range(rows).select("id", *columns)


# One of every kind, and on one Spark those that our own columns of a plan might be taken for.
@pytest.mark.parametrize("key", ["a`b", pytest.param(["part", "key_0", "theirs.x", "meta.source", "ours"], marks=once)])
def test_names_of_columns_are_names(run, spark, tmp_path, key):
    frame = odd(spark, [*ODD, "theirs.x", "theirs"], 20)

    found = [run(frame.where("id < 5"), key=key, new="new.`c`").written, run(frame, key=key, new="new.`c`").written]

    assert found == [5, 15]
    rows = pq.read_table(tmp_path / "out").to_pylist()
    assert list(rows[0]) == [*frame.columns, "new.`c`"]
    assert sorted(row["id"] for row in rows) == list(range(20))
    assert all(row["meta.source"] == row["a`b"] == row["id"] and row["meta"] == {"source": "in"} for row in rows)
    assert all(row["new.`c`"] == (None if row["id"] % 10 == 3 else 2 * row["id"]) for row in rows)


def test_orc_takes_names_with_dots_and_refuses_those_that_it_would_change(run, spark, tmp_path):
    frame = odd(spark, ["meta.source", "meta"], 20)
    assert [run(frame, key="meta.source", format="orc").written for _ in range(2)] == [20, 0]
    inside = frame.withColumn("deep", functions.array(functions.struct(functions.lit(1).alias("a`b"))))
    with pytest.raises(ConfigurationError, match="ORC cannot keep a column by the name 'a`b'; rename it"):
        run(inside, format="orc", path=tmp_path / "other")


def test_rows_are_sorted_by_a_name_before_a_field(spark):
    frame = spark.range(20).selectExpr("id", "id `meta.source`", "struct(-id as source, id as `a.b`) meta", "-id `x y`")

    def first(column):
        return by_prefix(frame, column, partitions=1).first().id

    assert (first("meta.source"), first("x y"), first("`meta`.`source`"), first("meta.`a.b`")) == (0, 19, 19, 0)
    assert first(-functions.col("id")) == 19
    for wrong in ("x y.z", "X", "*", "meta.*", "", "a`b", "meta.", "meta.none"):
        with pytest.raises(ConfigurationError, match=r"has no column|names no single column"):
            first(wrong)


def test_a_text_for_a_column_is_read_as_spark_reads_it(spark, servers):
    frame = spark.range(9).selectExpr(
        "id `order.id`", "struct(id + 10 as id, id + 20 as `a.b`) order", "id + 30 `a``b`"
    )

    def asked_for(text):
        column = servers.tensors(text, model="picky", on_error="null")
        return min(row.y for row in frame.select(column.alias("y")).collect() if row.y is not None)

    assert [asked_for(text) for text in ("`order.id`", "order.id", "order.`a.b`", "`a``b`")] == [0, 20, 40, 60]
    for wrong in ("*", "order.*", "", "a`b", "order."):
        with pytest.raises(ConfigurationError, match=r"names no single column.*; write `"):
            servers.tensors(wrong, model="picky")
    with pytest.raises(AnalysisException, match=r"`order`.`none`|`none`"):
        frame.select(servers.tensors("order.none", model="picky"))


def test_names_that_differ_in_their_case_are_one_or_two_as_spark_says(run, spark, servers, tmp_path):
    with pytest.raises(ConfigurationError, match="the input has several columns 'id'"):
        run(spark.range(3).join(spark.range(3).toDF("x"), functions.col("id") == functions.col("x")).toDF("id", "id"))
    spark.conf.set("spark.sql.caseSensitive", "true")
    try:
        cases = spark.range(5).selectExpr("id Id", "id + 10 a", "2 A", "id")
        assert run(cases, key="Id", new="Twice").written == 5
        assert run(cases, key="Id", new="Twice").already_written == 5
        assert pq.read_table(tmp_path / "out").column_names == ["Id", "a", "A", "id", "Twice"]
        assert run(cases, key="id", new="ID", path=tmp_path / "other").written == 5
    finally:
        spark.conf.unset("spark.sql.caseSensitive")
    with pytest.raises(ConfigurationError, match="the input has several columns 'Id'"):
        run(cases)
    with pytest.raises(ConfigurationError, match="two of the new columns have one name: new, New"):
        servers.run(spark.range(3), dict.fromkeys(["new", "New"], functions.lit(1)), tmp_path / "third", key="id")


def test_only_what_is_not_there_is_asked(run, spark, servers, tmp_path):
    """Also with another number of parts: the keys say what is done."""
    run(spark.range(0, ROWS, 1, 4).where("id % 3 = 0"))
    before = asked(servers)

    found = run(parts=3)

    there = (ROWS + 2) // 3
    assert (found.already_written, found.written) == (there, ROWS - there)
    assert asked(servers) - before == ROWS - there
    assert written(tmp_path) == list(range(ROWS))


def test_files_of_a_job_that_was_killed_while_it_committed_are_not_written_twice(run, spark, tmp_path):
    """Some of its files are out already, some are still where the next commit of Hadoop's committer looks for them."""
    run(spark.range(0, 100, 1, 4).where("id < 50"))
    moved = next((tmp_path / "out").glob("*.parquet"))
    left = tmp_path / "out" / "_temporary" / "0" / "task_202611240000001234567890123456789_0001_m_000000"
    left.mkdir(parents=True)
    shutil.copy(moved, left / "part-00000-left.parquet")

    run(spark.range(0, 100, 1, 4))

    assert written(tmp_path) == list(range(100))
    assert not (tmp_path / "out" / "_temporary").exists()


def test_a_folder_with_nothing_but_unfinished_files_counts_as_empty(run, spark, tmp_path):
    (tmp_path / "out" / "_temporary" / "0").mkdir(parents=True)

    assert run(spark.range(20)).written == 20


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("select 1L id union all select null", "a key must not be null; id is in 1 rows of the input"),
        ("select explode(array(1L, 5L, 5L)) id", "1 values of id are in several rows of the input, such as 5"),
    ],
)
def test_keys_that_tell_no_rows_apart_are_refused(run, spark, tmp_path, rows, message):
    with pytest.raises(ConfigurationError, match=message):
        run(spark.sql(rows))
    assert not (tmp_path / "out").exists()


def test_other_columns_at_the_path_are_refused_by_name_and_type(run, spark, tmp_path):
    spark.range(3).selectExpr("id", "cast(id as string) twice", "1 more").write.parquet(str(tmp_path / "out"))

    with pytest.raises(ConfigurationError, match="more is int there and would be missing; twice is string there"):
        run()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": "ids"}, r"no column 'ids' to be its key; did you mean id\?"),
        ({"key": []}, "one of them is empty"),
        ({"parts": 0}, "parts must be a whole number, 1 or more; it is 0"),
        ({"format": "csv"}, "parquet, orc, delta; it is 'csv'"),
    ],
)
def test_arguments_that_cannot_work_are_refused(run, options, message):
    with pytest.raises(ConfigurationError, match=message):
        run(**options)


def test_a_new_column_does_not_take_the_place_of_another(run, spark):
    with pytest.raises(ConfigurationError, match="has a column 'twice' already"):
        run(spark.range(3).withColumn("Twice", functions.lit(1)))


@once
def test_another_run_that_writes_at_the_same_time_is_noticed(run, spark, tmp_path):
    frame = spark.range(30)

    def arrange(part):
        """While this part is on its way, its rows come from elsewhere, too."""
        part.withColumn("twice", functions.lit(None).cast("bigint")).write.mode("append").parquet(str(tmp_path / "out"))
        return part

    with pytest.raises(OutputError, match=r"30 values of id are at .*/out more than once, such as \d+"):
        run(frame, arrange=arrange)


def test_several_columns_make_a_key_and_orc_is_a_format(run, spark, tmp_path):
    frame = spark.range(20).withColumn(
        "kind", functions.explode(functions.array(functions.lit("a"), functions.lit("b")))
    )

    found = [run(frame, key=["id", "kind"], format="orc").written for _ in range(2)]

    assert found == [40, 0]
    assert spark.read.orc(str(tmp_path / "out")).count() == 40


@once
def test_progress_counts_the_rows_of_every_engine(spark, servers):
    column = servers.tensors("id", model="picky", on_error="null")
    with servers.progress(total=ROWS) as shown:
        spark.range(0, ROWS, 1, 4).select(column.alias("y")).write.format("noop").mode("overwrite").save()

    assert (shown.latest.rows, shown.latest.errors) == (ROWS, {"refused": ROWS // 10})
    assert (shown.latest.ready, shown.latest.servers) == (2, 2)
    assert {server["state"] for server in json.loads(servers.status_json())} == {"ready"}


def test_rows_with_the_same_prefix_are_neighbours_in_one_task_and_tasks_are_about_as_large(spark, run, tmp_path):
    frame = spark.range(0, ROWS, 1, 4).selectExpr("id", "concat('document ', id % 40, ': question ', id) as prompt")
    ordered = by_prefix(frame, "prompt", partitions=4)

    tasks = ordered.select(functions.spark_partition_id().alias("task"), "prompt").collect()
    documents = [row.prompt.split(":")[0] for row in sorted(tasks, key=lambda row: row.task)]
    changes = sum(one != other for one, other in itertools.pairwise(documents))
    sizes = [sum(row.task == task for row in tasks) for task in range(4)]

    assert changes == 39
    assert min(sizes) > ROWS / 8
    assert run(frame, arrange=functools.partial(by_prefix, column="prompt"), parts=1).written == ROWS


@pytest.fixture
def job(state_root, tmp_path):
    """job(hold=...): `long_job` in a process of its own."""
    started = []

    def start(**options):
        arguments = ", ".join(f"{name}={value!r}" for name, value in options.items())
        code = f"from integration.spark import long_job; long_job.main({str(tmp_path)!r}, {arguments})"
        started.append(run_as_user(code))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@once
@own_session
@pytest.mark.timeout(1800)
def test_a_killed_driver_goes_on_where_it_was_and_no_row_is_lost_or_doubled(job, sessions, state_root, tmp_path):
    sessions.stop()  # two cores are few
    out = tmp_path / "out"
    killed = job(hold=True)
    assert json.loads(killed.stdout.readline())["step"] == "started"
    assert wait_until(lambda: (tmp_path / "held").exists() and len(list(out.glob("_temporary/*/task_*"))) == 3, 400)
    killed.kill()
    killed.wait()
    assert wait_until(lambda: not processes_of(state_root), 30)
    before = len(pq.read_table(out))

    resumed, _ = job(hold=False).communicate(timeout=900)

    done = json.loads(resumed.splitlines()[-1])
    found = pq.read_table(out).to_pylist()
    assert 0 < before < 240
    assert done == {
        "step": "done",
        "rows": 240,
        "already_written": before,
        "written": 240 - before,
        "asked": 240 - before,
    }
    assert sorted(row["id"] for row in found) == list(range(240))
    assert all(row["answer"] == 20 * row["id"] for row in found)


@once
@own_session
def test_an_interrupted_run_leaves_no_job_behind_that_writes_on(job, sessions, tmp_path):
    """As by a notebook's Stop button: whoever runs the cell again at once would have rows twice."""
    sessions.stop()
    interrupted = job(hold=True)
    assert json.loads(interrupted.stdout.readline())["step"] == "started"
    assert wait_until((tmp_path / "held").exists, 400)

    interrupted.send_signal(signal.SIGINT)

    printed, _ = interrupted.communicate(timeout=300)
    assert json.loads(printed.splitlines()[-1]) == {"step": "interrupted", "ended": True}
