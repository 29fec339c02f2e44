"""What a run writes to, and how it compares with the input. Driver; knows no servers."""

from __future__ import annotations

import functools
import operator
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from server_utils.errors import ConfigurationError, OutputError

# Spark's words for a path at which nothing was written yet; the second is a folder that holds no whole file.
_NOTHING = ("PATH_NOT_FOUND", "UNABLE_TO_INFER_SCHEMA", "DELTA_MISSING_DELTA_TABLE", "DELTA_PATH_DOES_NOT_EXIST")


def part(keys: Sequence[str], parts: int) -> Any:
    """A column with the number of a row's part, from 0: the same in every run."""
    from pyspark.sql import functions

    return functions.pmod(functions.xxhash64(*keys), functions.lit(parts))


class Output:
    """What is at the path."""

    def __init__(self, planned: Any, path: str, kind: str, keys: Sequence[str]) -> None:
        """planned: a frame with the columns that are to be written. Raises ConfigurationError if others are there."""
        self.path, self.key_names, self._kind = path, tuple(keys), kind
        self._spark, self._schema = planned.sparkSession, planned.schema
        found = self._found()
        if found is not None and (problems := _differences(self._schema, found.schema)):
            raise ConfigurationError(
                f"what is at {path} has other columns: {'; '.join(problems)}. Write to another path, or ask as before"
            )

    def keys(self) -> Any:
        """The keys at the path, as it is now."""
        found = self._found()
        if found is not None:
            return found.select(*self.key_names)
        from pyspark.sql.types import StructType

        return self._spark.createDataFrame([], StructType([self._schema[name] for name in self.key_names]))

    def append(self, frame: Any) -> None:
        """Write the rows in one job, all or none of them but for what a kill in its last moment leaves: whole files.

        Where nothing special commits, Hadoop's committer does. With its algorithm 2 a task that Spark runs again may
        leave its rows twice. And it would publish what tasks of a killed job left in `_temporary/0`, were the number
        not another one each time (Spark 3.5 to 4.3, Hadoop 3.3 and 3.4, tried).
        """
        writer = frame.write.mode("append").format(self._kind)
        writer = writer.option("mapreduce.fileoutputcommitter.algorithm.version", "1")
        writer.option("mapreduce.job.application.attempt.id", str(secrets.randbelow(2**31))).save(self.path)

    def _found(self) -> Any:
        """What is there, None where nothing is."""
        from pyspark.errors import AnalysisException

        try:
            found = self._spark.read.format(self._kind).load(self.path)
            found.schema  # noqa: B018 - over Connect this is the first look at the path
        except AnalysisException as error:
            if any(word in str(error) for word in _NOTHING):
                return None
            raise
        return found


def _differences(planned: Any, found: Any) -> list[str]:
    """By column, for people. Spark does not keep in files which columns may be null."""
    wanted, there = ({each.name: each.dataType.simpleString() for each in schema} for schema in (planned, found))
    return [
        f"{name} is {there.get(name, 'not')} there and would be {wanted.get(name, 'missing')}"
        for name in sorted(wanted.keys() | there.keys())
        if wanted.get(name) != there.get(name)
    ]


@dataclass(frozen=True)
class Count:
    """How the keys of the input and those at the path compare; found by one job that reads nothing but keys.

    Attributes:
        rows: of the input.
        left_by_part: rows that are not at the path; parts without any are left out.
        nulls: keys of the input that hold a null.
        doubled: keys that several rows of the input have. twice: keys of the input that are at the path several times.
        example: of a key that is doubled or twice.
    """

    rows: int
    left_by_part: Mapping[int, int]
    nulls: int
    doubled: int
    twice: int
    example: str | None

    @property
    def left(self) -> int:
        """Rows that are not at the path."""
        return sum(self.left_by_part.values())

    @classmethod
    def of(cls, frame: Any, output: Output, parts: int) -> Count:
        """Count now."""
        found = _by_part(frame, output, parts).collect()
        left = {row.sidecar_part: row.left for row in found if row.left}
        nulls, doubled, twice = (sum(row[name] for row in found) for name in ("nulls", "doubled", "twice"))
        example = next((row.example for row in found if row.example), None)
        return cls(sum(row.rows for row in found), left, nulls, doubled, twice, example)

    def check(self, output: Output) -> None:
        """Raise ConfigurationError where the keys are none, or those at the path are doubled."""
        keys = ", ".join(output.key_names)
        if self.nulls:
            raise ConfigurationError(f"a key must not be null; {keys} is in {self.nulls} rows of the input")
        if self.doubled:
            raise ConfigurationError(
                f"each row needs a key of its own; {self.doubled} values of {keys} are in several rows of the input, "
                f"such as {self.example}. dropDuplicates leaves one of each"
            )
        if self.twice:
            raise ConfigurationError(f"{self._twice(output)}. Write to another path, or leave one of each there")

    def check_whole(self, output: Output) -> None:
        """Raise OutputError where not each key of the input is at the path once."""
        if self.twice:
            raise OutputError(f"{self._twice(output)}. Did another run write there? Leave one of each")
        if self.left:
            raise OutputError(
                f"{self.left} of {self.rows} rows are not at {output.path} although they were written. Did another run "
                "write there, or does the input change from look to look? The same call again writes what is left"
            )

    def _twice(self, output: Output) -> str:
        keys = ", ".join(output.key_names)
        return f"{self.twice} values of {keys} are at {output.path} more than once, such as {self.example}"


def _by_part(frame: Any, output: Output, parts: int) -> Any:
    """A row per part with the sums that make a `Count`."""
    from pyspark.sql import functions as f

    keys = output.key_names
    ours, theirs = f.col("sidecar_ours"), f.col("sidecar_theirs")
    there = output.keys().groupBy(*keys).agg(f.count("*").alias("sidecar_theirs"))
    both = frame.select(*keys).groupBy(*keys).agg(f.count("*").alias("sidecar_ours")).join(there, list(keys), "left")

    def sum_where(condition: Any, of: Any = 1) -> Any:
        return f.sum(f.when(condition, of).otherwise(0))

    bad = (ours > 1) | (theirs > 1)
    return both.groupBy(part(keys, parts).alias("sidecar_part")).agg(
        f.sum(ours).alias("rows"),
        sum_where(theirs.isNull(), ours).alias("left"),
        sum_where(functools.reduce(operator.or_, (f.col(name).isNull() for name in keys)), ours).alias("nulls"),
        sum_where(ours > 1).alias("doubled"),
        sum_where(theirs > 1).alias("twice"),
        f.max(f.when(bad, f.concat_ws(", ", *(f.col(name).cast("string") for name in keys)))).alias("example"),
    )
