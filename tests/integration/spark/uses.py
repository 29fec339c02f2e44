"""What people do with a column of answers, and how many rows are sent to the servers for it.

The model answers by chance (`tiny_models.chance`), so a row that is asked twice shows: two uses of its answer differ.
Each use is a function of a frame with an `id` and of `ask`, which makes the column.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Window, functions

ROWS, PARTITIONS = 200, 4
col = functions.col


@dataclass(frozen=True)
class Use:
    """rows: what Spark gives. asked: of ROWS rows. holds: what is true of each row, were it asked once."""

    name: str
    rows: Callable[[Any, Any], Any]
    asked: int = ROWS
    holds: Callable[[Any], bool] = lambda row: True


def answered(frame, ask):
    return frame.withColumn("y", ask("id"))


def over_50(row):
    return row.y > 50


def others(frame, name="k"):
    """A frame to join with, whose rows Spark must send over the network or not, as it likes."""
    return frame.select(col("id").alias(name))


def same_twice(frame, ask):
    y = ask("id")
    return frame.select((y + 1).alias("a"), y.alias("b"))


def in_two_places(frame, ask):
    y = ask("id")
    return frame.where(y >= 0).withColumn("y", y)


def twice(frame):
    return frame.union(frame)


def errors(frame, ask):
    return frame.withColumn("y", ask("id", on_error="struct"))


def parts_of_a_struct(frame, ask):
    y = ask("id", on_error="struct")
    return frame.select(y["value"].alias("a"), (y["value"] + 1).alias("b"), y["error"].alias("error"))


def by_sql(query):
    def rows(frame, ask):
        answered(frame, ask).createOrReplaceTempView("answered")
        return frame.sparkSession.sql(query)

    return rows


ONCE = [
    Use("a filter on it", lambda f, ask: answered(f, ask).where("y > 50"), holds=over_50),
    Use(
        "a filter by the function itself",
        lambda f, ask: f.where(ask("id") >= 0).select("id"),
    ),
    Use(
        "two filters on it",
        lambda f, ask: answered(f, ask).where("y > 20").where("y < 80"),
        holds=lambda row: 20 < row.y < 80,
    ),
    Use(
        "columns made of it, and a filter on them",
        lambda f, ask: (
            answered(f, ask).withColumn("z", col("y") * 2).withColumn("w", col("y") + col("z")).where("w > 99")
        ),
        holds=lambda row: row.w == 3 * row.y > 99,
    ),
    Use("the Python object twice in one `select`", same_twice, holds=lambda row: row.a == row.b + 1),
    Use("fields of the Python object in one `select`", parts_of_a_struct, holds=lambda row: row.a + 1 == row.b),
    Use("a filter on `y.error` and `y.value`", lambda f, ask: errors(f, ask).where("y.error is null and y.value > 50")),
    Use(
        "`dropna`, `fillna`, `replace`",
        lambda f, ask: answered(f, ask).dropna().fillna(0).replace(1, 2).where("y > 50"),
    ),
    Use(
        "a left join to it, then a filter on it",
        lambda f, ask: f.join(answered(f, ask), "id", "left").where("y > 50"),
        holds=over_50,
    ),
    Use(
        "a join by other columns, then a filter on it",
        lambda f, ask: answered(f, ask).join(others(f), col("id") == col("k")).where("y > 50"),
        holds=over_50,
    ),
    Use(
        "a join by it",
        lambda f, ask: answered(f, ask).join(others(f), col("y") == col("k")),
        holds=lambda row: row.y == row.k,
    ),
    Use(
        "a join by it, sorted and merged",
        lambda f, ask: answered(f, ask).join(others(f).hint("merge"), col("y") == col("k")),
        holds=lambda row: row.y == row.k,
    ),
    Use(
        "a semi join by it",
        lambda f, ask: others(f).join(answered(f, ask), col("y") == col("k"), "left_semi"),
    ),
    Use(
        "a union of two such frames, then a filter (of 400 rows)",
        lambda f, ask: answered(f, ask).union(answered(f, ask)).where("y > 50"),
        asked=2 * ROWS,
        holds=over_50,
    ),
    Use(
        "`groupBy` it, then a filter on the groups",
        lambda f, ask: answered(f, ask).groupBy("y").count().where("y > 50"),
        holds=over_50,
    ),
    Use("`agg` of it", lambda f, ask: answered(f, ask).agg(functions.max("y"), functions.avg("y"))),
    Use("`rollup` by it", lambda f, ask: answered(f, ask).rollup("y").count()),
    Use("`dropDuplicates` by it", lambda f, ask: answered(f, ask).dropDuplicates(["y"])),
    Use(
        "a window partitioned by it, then a filter",
        lambda f, ask: (
            answered(f, ask)
            .withColumn("n", functions.row_number().over(Window.partitionBy("y").orderBy("id")))
            .where("y > 50")
        ),
        holds=over_50,
    ),
    Use(
        "`explode` of it, then a filter",
        lambda f, ask: answered(f, ask).withColumn("e", functions.explode(functions.array("y", "y"))).where("e > 50"),
        holds=lambda row: row.e == row.y > 50,
    ),
    Use(
        "`repartition`, then a filter on it",
        lambda f, ask: answered(f, ask).repartition(3).where("y > 50"),
        holds=over_50,
    ),
    Use("`orderBy` it with a `limit`", lambda f, ask: answered(f, ask).orderBy("y").limit(9)),
    Use(
        "`orderBy` another column before, then a filter",
        lambda f, ask: answered(f.orderBy(functions.desc("id")), ask).where("y > 50"),
        holds=over_50,
    ),
    Use("a view in SQL, with a filter", by_sql("select * from answered where y > 50"), holds=over_50),
    Use(
        "the same question in two columns of one `select`",
        lambda f, ask: f.withColumns({"a": ask("id"), "b": ask("id")}),
        holds=lambda row: row.a == row.b,
    ),
    Use("a question about an answer (two of each row)", lambda f, ask: f.select(ask(ask("id"))), asked=2 * ROWS),
]

NOBODY = [
    Use("`select` of other columns", lambda f, ask: answered(f, ask).select("id"), asked=0),
    Use("`count` of all rows", lambda f, ask: answered(f, ask).groupBy().count(), asked=0),
    Use(
        "`drop` of it, then a filter on other columns",
        lambda f, ask: answered(f, ask).drop("y").where("id < 9"),
        asked=0,
    ),
    Use("an input of null", lambda f, ask: f.select(ask(functions.when(col("id") < 0, col("id")))), asked=0),
]

WHICH = [
    Use('`where("id < 20")` before the column', lambda f, ask: answered(f.where("id < 20"), ask), asked=20),
    Use('`where("id < 20")` after the column', lambda f, ask: answered(f, ask).where("id < 20")),
    Use("`where((id < 20) & (answer >= 0))`", lambda f, ask: f.where((col("id") < 20) & (ask("id") >= 0)), asked=20),
    Use("`sample` after the column", lambda f, ask: answered(f, ask).sample(0.1, seed=1)),
    Use("`when(id < 20, answer)`", lambda f, ask: f.select(functions.when(col("id") < 20, ask("id")))),
    Use(
        "the answer to `when(id < 20, text)`",
        lambda f, ask: f.select(ask(functions.when(col("id") < 20, col("id")))),
        asked=20,
    ),
    Use("`limit(10)` after the column", lambda f, ask: answered(f, ask).limit(10), asked=10),
]

AGAIN = [
    Use("`orderBy` it", lambda f, ask: answered(f, ask).orderBy("y"), asked=2 * ROWS),
    Use("`orderBy` another column after the column", lambda f, ask: answered(f, ask).orderBy("id"), asked=2 * ROWS),
    Use(
        "a union of the frame with itself",
        lambda f, ask: twice(answered(f, ask)),
        asked=2 * ROWS,
    ),
    Use(
        "the Python object in `where` and `withColumn`",
        in_two_places,
        asked=2 * ROWS,
    ),
    Use(
        "a view twice in one SQL query",
        by_sql("select * from answered where y = (select max(y) from answered)"),
        asked=2 * ROWS,
    ),
]

WAYS_ROUND = [
    Use("`repartition`, then `orderBy` it", lambda f, ask: answered(f, ask).repartition(4).orderBy("y")),
    Use("`cache`, then `orderBy` it", lambda f, ask: answered(f, ask).cache().orderBy("y")),
    Use(
        "a view twice in one SQL query, by `with`",
        by_sql("with once as (select * from answered) select * from once where y = (select max(y) from once)"),
    ),
]

REFUSED = [
    Use("`agg(max(answer))`", lambda f, ask: f.agg(functions.max(ask("id")))),
    Use("`join(other, answer == column)`", lambda f, ask: f.join(others(f), ask("id") == col("k"))),
    Use("`rollup(answer)`", lambda f, ask: f.rollup(ask("id")).count()),
]

COUNTED = [*ONCE, *NOBODY, *WHICH, *AGAIN, *WAYS_ROUND]


def asked_and_broken(spark, ask, use, asked):
    """How many rows the servers were asked about for a use, and how many rows of it break what should hold.

    asked: a function that gives the rows that were asked about up to now.
    """
    spark.catalog.clearCache()  # what an earlier use left there answers for a later one
    before = asked()
    found = use.rows(spark.range(0, ROWS, 1, PARTITIONS), ask).collect()
    return asked() - before, sum(not use.holds(row) for row in found)


def counter(folder):
    """A function that gives the number of rows that the servers of `tiny_models.chance` were asked about."""
    return lambda: sum(file.stat().st_size for file in folder.iterdir())
