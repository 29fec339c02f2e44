# %% [markdown]
# # A job that survives a killed server and a restart
#
# Long jobs meet dead processes. Here a server is killed in the middle of a job, and later the job itself is stopped half way and
# started again. In the end every row is there once.
#
# **When to use this:** any job that takes longer than you want to repeat.

# %%
from server_utils import open_notebook

spark, notebook = open_notebook("killed_server")

# %%
reviews = notebook.table("movie_reviews", rows=notebook.pick(small=400, full=None)).cache()
rows = reviews.count()


# %%
def encoder_server(ports, model_path):
    import numpy as np
    from pytriton.decorators import batch
    from pytriton.model_config import ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(model_path)

    @batch
    def encode(text):
        return {"vector": model.encode([each.decode() for each in text[:, 0]], show_progress_bar=False)}

    with Triton(config=TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])) as triton:
        triton.bind(
            "encode",
            encode,
            inputs=[Tensor(name="text", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="vector", dtype=np.float32, shape=(-1,))],
            config=ModelConfig(max_batch_size=64),
        )
        triton.serve()


# %% [markdown]
# ## A column that kills a server
#
# It ends the process of a server, as a lack of memory would, when it meets a certain row. A user never needs this; it
# stands for what happens to long jobs.

# %%
import os
import signal
import socket

from pyspark.sql import functions as F


def killing(servers, row):
    """Gives texts back as they are; where it meets the row, it ends the process of a server of that host."""
    victims = {each.host: each.process.pid for each in servers}

    @F.udf("string")
    def give_back(text, id):
        if id == row:
            try:
                os.kill(victims[socket.gethostname()], signal.SIGKILL)
            except ProcessLookupError:  # Spark may compute a row again
                pass
        return text

    return give_back


# %% [markdown]
# ## The first call, of which a server dies
#
# `servers.run` writes in parts. This first call is given half of the rows: what a stop half way leaves behind. The
# supervisor of the killed server starts it again, and the rows that were on their way are sent again.

# %%
import time

from server_utils import TritonServerManager, data_url

half = reviews.orderBy("id").limit(rows // 2).cache()
middle = half.agg(F.expr("percentile_disc(0.5) within group (order by id)")).first()[0]


def table_of(status):
    columns = [{"server": each.executor, "process": each.process.pid, "state": each.state.value} for each in status]
    return [{**row, "restarts": each.restarts, "reason": each.reason} for row, each in zip(columns, status)]


target = f"{data_url('survivors')}-{int(time.time())}"
with TritonServerManager("encoder", notebook.model()) as servers:
    servers.start_servers(encoder_server)
    before = servers.status()
    text = killing(before, middle)("text", "id")
    first = servers.run(half, {"vector": servers.embed(text)}, target, key="id", parts=2)
    after = servers.status()
    second = servers.run(reviews, {"vector": servers.embed("text")}, target, key="id", parts=2)

notebook.show(table_of(before))
notebook.show(table_of(after))

# %% [markdown]
# ## The second call goes on where the first one ended
#
# It was given all rows, and asked only for those that were not there.

# %%
import matplotlib.pyplot as plt

calls = ["first call", "second call"]
plt.figure(figsize=(7.2, 1.8))
plt.barh(calls, [first.there, second.there], color="#9aa0a6", label="were there")
plt.barh(
    calls, [first.written, second.written], left=[first.there, second.there], color="#1a73e8", label="asked and written"
)
plt.gca().invert_yaxis()
plt.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
plt.title("rows")
plt.show()

# %%
written = spark.read.parquet(target)
restarts = sum(each.restarts for each in after)
notebook.show(
    [
        {"call": name, "rows": call.rows, "were there": call.there, "written": call.written}
        for name, call in zip(calls, (first, second))
    ]
)
print(f"{restarts} restart, {written.count()} of {rows} rows, each once")
assert restarts >= 1
assert (first.written, second.there, second.written) == (rows // 2, rows // 2, rows - rows // 2)
assert written.count() == written.select("id").distinct().count() == rows
assert written.where("vector is null").count() == 0
