"""NIM containers beside two executors: the columns, on real Docker and a stand-in image."""

from __future__ import annotations

import pytest
from support import containers

from server_utils import NIMServerManager


@pytest.fixture(scope="module")
def docker():
    with containers.docker() as variables:
        yield variables


@pytest.fixture(scope="module")
def servers(spark, docker):
    with NIMServerManager("fake", image=containers.make_image(docker), spark=spark) as manager:
        manager.start_servers(env=docker)
        yield manager
    assert not containers.run(docker, "ps", "--all", "--quiet")


def test_columns_are_answered_by_a_container_per_executor(spark, servers):
    mood = {"type": "object", "properties": {"mood": {"type": "string"}}, "required": ["mood"]}
    frame = spark.range(0, 24, 1, 4).selectExpr("id", "if(id = 7, null, concat('row ', id)) as prompt")

    rows = frame.select(
        "prompt",
        servers.generate("prompt").alias("text"),
        servers.chat("prompt").alias("reply"),
        servers.generate("prompt", response_format=mood).alias("typed"),
    ).collect()

    assert len(rows) == 24
    for row in rows:
        expected = row.prompt and row.prompt.upper()
        assert (row.text, row.reply) == (expected, expected)
        assert (row.typed and row.typed.mood) == (row.prompt and "fine")
    status = servers.status()
    assert len(status) == 2
    assert sum(server.rows for server in status) == 23 * 3


def test_rows_that_the_engine_dies_of_are_the_only_ones_without_an_answer(spark, servers):
    frame = spark.range(0, 20, 1, 1).selectExpr("id", "if(id = 7, 'die', concat('row ', id)) as prompt")

    rows = frame.select("id", servers.generate("prompt", on_error="struct").alias("a")).collect()

    assert [row.id for row in rows if row.a.error] == [7]
    assert all(row.a.value == f"ROW {row.id}" for row in rows if row.id != 7)
