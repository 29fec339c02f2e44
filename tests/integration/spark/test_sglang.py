"""The columns of `SGLangServerManager`, by a stand-in that has SGLang's options, requests and errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import fake_sglang

from server_utils import ConfigurationError, SGLangServerManager


class StandIn(SGLangServerManager):
    environment = "triton"  # any Python will do


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A folder with the stand-in, under SGLang's name."""
    folder = tmp_path_factory.mktemp("packages")
    (folder / "sglang").mkdir()
    (folder / "sglang" / "launch_server.py").write_text(Path(fake_sglang.__file__).read_text())
    return str(folder)


@pytest.fixture(scope="module")
def servers(spark, packages):
    with StandIn("sglang", packages, spark=spark) as manager:
        manager.start_servers(max_model_len=512, env={"PYTHONPATH": packages})
        yield manager


def test_columns_are_answered_by_a_server_per_executor(spark, servers):
    mood = {"type": "object", "properties": {"mood": {"type": "string"}}, "required": ["mood"]}
    frame = spark.range(0, 24, 1, 4).selectExpr("id", "if(id = 7, null, concat('row ', id)) as prompt")

    rows = frame.select(
        "prompt",
        servers.generate("prompt", regex="[A-Z0-9 ]+", details=True).alias("text"),
        servers.chat("prompt").alias("reply"),
        servers.generate("prompt", response_format=mood).alias("typed"),
    ).collect()

    assert len(rows) == 24
    for row in rows:
        expected = row.prompt and row.prompt.upper()
        assert (row.text.value, row.reply) == (expected, expected)
        assert (row.text.prompt_tokens, row.text.completion_tokens) == ((3, 2) if row.prompt else (None, None))
        assert (row.typed and row.typed.mood) == (row.prompt and "fine")
    status = servers.status()
    assert len(status) == 2
    assert sum(server.rows for server in status) == 23 * 3
    assert all({"running", "waiting", "kv_cache_usage", "steps", "tokens_out"} <= set(each.metrics) for each in status)


def test_rows_that_it_refuses_or_dies_of_are_the_only_ones_without_an_answer(spark, servers):
    prompts = "case id when 3 then 'long' when 7 then 'die' else concat('row ', id) end as prompt"
    frame = spark.range(0, 20, 1, 1).selectExpr("id", prompts)

    rows = {
        row.id: row.a for row in frame.select("id", servers.generate("prompt", on_error="struct").alias("a")).collect()
    }

    assert {at for at, answer in rows.items() if answer.error} == {3, 7}
    assert "longer than the model's context length (512 tokens)" in rows[3].error
    assert "the server died while it answered this row" in rows[7].error
    assert all(answer.value == f"ROW {at}" for at, answer in rows.items() if at not in (3, 7))
    errors = [server.errors for server in servers.status()]
    assert sum(each.get("too_long", 0) for each in errors) == sum(each.get("died", 0) for each in errors) == 1


def test_fields_and_endpoints_that_it_lacks_are_refused_before_a_job(servers):
    with pytest.raises(ConfigurationError, match="has no field 'structured_outputs'"):
        servers.generate("prompt", structured_outputs={"regex": "a"})
    with pytest.raises(
        ConfigurationError, match=r"do not offer /v1/embeddings; start them with start_servers\(is_embedding=True\)"
    ):
        servers.embed("prompt")


def test_servers_for_vectors_embed_and_do_nothing_else(spark, packages):
    frame = spark.range(0, 6, 1, 2).selectExpr("if(id = 2, null, repeat('x', int(id) + 1)) as text")
    with StandIn("sglang-vectors", packages, spark=spark) as servers:
        servers.start_servers(is_embedding=True, env={"PYTHONPATH": packages})
        rows = frame.select("text", servers.embed("text").alias("vector")).collect()
        with pytest.raises(
            ConfigurationError, match=r"do not offer /v1/completions; start them with start_servers\(\)"
        ):
            servers.generate("text")
    assert [row.vector for row in rows] == [row.text and [float(len(row.text)), 1.0] for row in rows]
