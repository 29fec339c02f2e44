"""Several vLLM servers beside one executor, which turn texts into vectors, and want a key."""

from __future__ import annotations

import numpy as np
from support import real_vllm
from support.fakes import contents, processes_of

from integration.spark.conftest import LOCAL, session
from server_utils import VLLMServerManager

pytestmark = session(LOCAL)


def test_servers_of_one_executor_share_its_rows_and_all_end_with_the_stop(spark, state_root):
    with VLLMServerManager("vectors", str(real_vllm.model_folder()), spark=spark) as servers:
        servers.start_servers(replicas=2, require_key=True, runner="pooling", convert="embed", max_model_len=64)
        texts = spark.range(0, 400, 1, 2).selectExpr("id", "if(id % 10 = 3, null, concat('text ', id % 7)) as text")

        answered = texts.withColumn("vector", servers.embed("text"))
        found = answered.collect()

        assert servers.key not in answered._jdf.queryExecution().toString()  # which is what event logs hold
        files = contents(state_root)
        assert len(files) > 10
        assert not [path for path, content in files.items() if servers.key.encode() in content]
        assert sorted(row.id for row in found) == list(range(400))
        vectors = {row.text: row.vector for row in found if row.text is not None}
        assert {len(vector) for vector in vectors.values()} == {128}
        for row in found:
            assert (row.vector is None) == (row.text is None)
            assert row.text is None or np.allclose(row.vector, vectors[row.text], atol=0.02)
        one, other = servers.status()
        assert (one.executor, one.replica, other.replica) == (other.executor, 0, 1)
        assert min(one.rows, other.rows) > 0
        assert one.rows + other.rows == 360
        assert len(set(servers.urls.values())) == 2
    assert not processes_of(state_root)
