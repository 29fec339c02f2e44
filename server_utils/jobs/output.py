"""What a run writes to, and how it compares with the input. Driver; knows no servers.

Paths and names of columns are literal: no character is a pattern, or leads into a struct.
"""

from __future__ import annotations

import functools
import operator
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server_utils.errors import ConfigurationError, OutputError
from server_utils.spark.session import named

# Spark's words for a path at which nothing was written yet; the second is a folder that holds no whole file.
_FILES = ("parquet", "orc")  # whose readers take a path for a pattern
_NOTHING = ("PATH_NOT_FOUND", "UNABLE_TO_INFER_SCHEMA", "DELTA_MISSING_DELTA_TABLE", "DELTA_PATH_DOES_NOT_EXIST")

_HAS_BUCKET = r"(s3[an]?|gs|abfss?|wasbs?):/(?!/)"  # what pathlib leaves of s3://


def part(keys: Sequence[Any], parts: int) -> Any:
    """A column with the number of a row's part, from 0: the same in every run. keys: columns."""
    from pyspark.sql import functions

    return functions.pmod(functions.xxhash64(*keys), functions.lit(parts))


def literal(path: str | Path) -> str:
    """A path as Spark and Hadoop take it, every character as it is. Raises ConfigurationError for what is none."""
    if not isinstance(path, str | os.PathLike):
        raise ConfigurationError(f"the path must be a text or a pathlib.Path; it is {path!r}")
    text = os.fspath(path)
    if re.match(r"~(/|$)", text):
        home = os.path.expanduser(text)  # noqa: PTH111 - says what it finds, whatever that is
        raise ConfigurationError(f"to Spark {text!r} is a folder that is called ~; write {home!r}")
    return re.sub(rf"^{_HAS_BUCKET}", r"\1://", text, flags=re.IGNORECASE) if isinstance(path, Path) else text


class Output:
    """What is at the path."""

    def __init__(self, planned: Any, path: str | Path, kind: str, keys: Sequence[str]) -> None:
        """planned: a frame with the columns that are to be written.

        Raises ConfigurationError where other columns are there, and for names and paths that cannot be written.
        """
        self.path, self.key_names, self._kind = literal(path), tuple(keys), kind
        self._spark, self._schema, self._has_written = planned.sparkSession, planned.schema, False
        _check_names(self._schema, kind)
        existing = self._first_read()
        if existing is not None and (problems := _differences(self._schema, existing.schema)):
            raise ConfigurationError(
                f"what is at {path} has other columns: {'; '.join(problems)}. Write to another path, or add the same "
                "columns"
            )

    def keys(self) -> Any:
        """The keys at the path, as it is now."""
        existing = self._read()
        if existing is not None:
            return existing.select(*map(named, self.key_names))
        if self._has_written:
            raise OutputError(
                f"what was written to {self.path} cannot be found there. Was it removed? Otherwise give another path"
            )
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
        self._has_written = True

    def _first_read(self) -> Any:
        """As `_read`. Raises ConfigurationError for a path that Spark cannot use."""
        try:
            return self._read()
        except Exception as error:  # Spark's errors have no common class, and over Connect there are others
            reason = re.sub(r"^An error occurred while calling .*\n: ", "", str(error)).partition("\n")[0]
            raise ConfigurationError(
                f"Spark cannot use the path {self.path!r}: {reason}. Nothing was sent or written; give another path, "
                "or put right what it names"
            ) from error

    def _read(self) -> Any:
        """A frame of what is at the path, None where nothing is."""
        from pyspark.errors import AnalysisException

        reader = self._spark.read.format(self._kind)
        if self._kind in _FILES:
            reader = reader.option("__globPaths__", "false")  # Spark's own word (3.5 to 4.3): [1] is no pattern
        try:
            existing = reader.load(self.path)
            existing.schema  # noqa: B018 - over Connect only this reads the path
        except AnalysisException as error:
            if any(word in str(error) for word in _NOTHING):
                return None
            raise
        return existing


def _differences(planned: Any, existing: Any) -> list[str]:
    """By column, for people. Spark does not keep in files which columns may be null."""
    wanted, actual = ({each.name: each.dataType.simpleString() for each in schema} for schema in (planned, existing))
    return [
        f"{name} is {actual.get(name, 'not')} there and would be {wanted.get(name, 'missing')}"
        for name in sorted(wanted.keys() | actual.keys())
        if wanted.get(name) != actual.get(name)
    ]


def _check_names(schema: Any, kind: str) -> None:
    """Refuse what ORC would write under another name, and without a word."""
    bad = next((name for name in _names(schema) if not name or "`" in name), None) if kind == "orc" else None
    if bad is not None:
        raise ConfigurationError(f"ORC cannot keep a column by the name {bad!r}; rename it, or write Parquet")


def _names(kind: Any) -> Iterator[str]:
    """The names of all fields of a type, wherever in it."""
    if hasattr(kind, "fields"):
        yield from (field.name for field in kind.fields)
    inner = [getattr(kind, name, None) for name in ("elementType", "keyType", "valueType")]
    for each in [*(field.dataType for field in getattr(kind, "fields", ())), *inner]:
        if each is not None:
            yield from _names(each)


@dataclass(frozen=True)
class Count:
    """How the keys of the input and those at the path compare; counted by one job that reads nothing but keys.

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
        counts = _by_part(frame, output, parts).collect()
        left = {row.part: row.left for row in counts if row.left}
        nulls, doubled, twice = (sum(row[name] for row in counts) for name in ("nulls", "doubled", "twice"))
        example = next((row.example for row in counts if row.example), None)
        return cls(sum(row.rows for row in counts), left, nulls, doubled, twice, example)

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
                "write there, or does the input change from read to read? The same call again writes what is left"
            )

    def _twice(self, output: Output) -> str:
        keys = ", ".join(output.key_names)
        return f"{self.twice} values of {keys} are at {output.path} more than once, such as {self.example}"


def _by_part(frame: Any, output: Output, parts: int) -> Any:
    """A row per part with the sums that make a `Count`."""
    from pyspark.sql import functions as f

    keys = [f"key_{number}" for number in range(len(output.key_names))]  # no name of theirs can meet one of ours
    ours, theirs = f.col("ours"), f.col("theirs")
    input_keys = frame.select(*(named(name).alias(key) for name, key in zip(output.key_names, keys, strict=True)))
    output_keys = output.keys().toDF(*keys).groupBy(*keys).agg(f.count("*").alias("theirs"))
    both = input_keys.groupBy(*keys).agg(f.count("*").alias("ours")).join(output_keys, keys, "left")

    def sum_where(condition: Any, of: Any = 1) -> Any:
        return f.sum(f.when(condition, of).otherwise(0))

    bad = (ours > 1) | (theirs > 1)
    return both.groupBy(part([f.col(key) for key in keys], parts).alias("part")).agg(
        f.sum(ours).alias("rows"),
        sum_where(theirs.isNull(), ours).alias("left"),
        sum_where(functools.reduce(operator.or_, (f.col(name).isNull() for name in keys)), ours).alias("nulls"),
        sum_where(ours > 1).alias("doubled"),
        sum_where(theirs > 1).alias("twice"),
        f.max(f.when(bad, f.concat_ws(", ", *(f.col(name).cast("string") for name in keys)))).alias("example"),
    )
