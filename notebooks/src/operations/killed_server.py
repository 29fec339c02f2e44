# %% [markdown]
# # A job that survives a killed server, a killed executor and a restart
#
# Processes die during long jobs. Here a server is killed in the middle of a job, then an executor of Spark. Then the job
# itself is interrupted, and started again. In the end every row is there once.
#
# **When to use this:** any job that takes longer than you want to repeat.

# %%
from server_utils import open_notebook

spark, notebook = open_notebook("killed_server")

# %% [markdown]
# ## Rows and a model
#
# The rows are handwritten digits, many times over. The model is one half of them, with what they are: it names a digit by the
# known one that is nearest. What happens below does not depend on the model.

# %%
import tempfile

import numpy as np
from pyspark.sql import functions as F
from server_utils import model_url, save_model

digits = notebook.table("digits")
known = digits.where("id % 2 = 0").toPandas()
folder = tempfile.mkdtemp()
np.savez(f"{folder}/known.npz", pixels=np.stack(known.pixels), labels=known.label)
url = save_model(folder, model_url("known-digits"), overwrite=True)

copies, tasks = notebook.pick(small=(10, 4), full=(5000, 400))
unseen = digits.where("id % 2 = 1").crossJoin(spark.range(copies).withColumnRenamed("id", "copy"))
unseen = unseen.withColumn("id", F.col("id") * copies + F.col("copy")).drop("copy").cache()
rows = unseen.count()


# %%
def digits_server(ports, model_path):
    import numpy as np
    from pytriton.decorators import batch
    from pytriton.model_config import ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    known = np.load(f"{model_path}/known.npz")
    pixels_of, labels = known["pixels"].astype(np.float32), known["labels"].astype(np.int32)
    lengths = np.square(pixels_of).sum(axis=1)

    @batch
    def digit(pixels):
        distances = lengths - 2 * pixels @ pixels_of.T
        return {"digit": labels[distances.argmin(axis=1)][:, None]}

    with Triton(config=TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])) as triton:
        triton.bind(
            "digit",
            digit,
            inputs=[Tensor(name="pixels", dtype=np.float32, shape=(64,))],
            outputs=[Tensor(name="digit", dtype=np.int32, shape=(1,))],
            config=ModelConfig(max_batch_size=1024),
        )
        triton.serve()


# %% [markdown]
# ## The job
#
# It starts the servers, asks for the rows that are not at the target yet, and stops the servers. `servers.run` writes in
# parts, each in a Spark job of its own. Before each part it calls `arrange` on the driver, which lays the rows of the part
# out over tasks. Jobs of yours need no `arrange`: this one gives it to cause trouble.
#
# Each run of this notebook writes to a folder of its own below `data_url`, whose name begins with `survivors-`. You may
# delete these folders.

# %%
import time

from server_utils import TritonServerManager, data_url

target, events = data_url(f"survivors-{int(time.time())}"), []


def job(*troubles):
    left = iter(troubles)
    with TritonServerManager("digit", url) as servers:

        def arrange(part):
            part, trouble = part.repartition(tasks), next(left, None)
            return trouble(servers, part) if trouble else part

        servers.start_servers(digits_server)
        events.append((time.time(), "again" if events else "start"))
        return servers.run(unseen, {"digit": servers.tensors("pixels")}, target, key="id", parts=3, arrange=arrange)


# %% [markdown]
# ## Three kinds of trouble
#
# A task kills a process of its host once its first rows are on their way to the server, as a lack of memory would.
#
# The interrupt is of the kind that the stop button of a notebook raises. Here it comes between two parts. One that comes
# inside a part cancels the Spark job of the part.

# %%
import signal
import socket

tables = {}


class StagedInterrupt(KeyboardInterrupt):
    """Tells the interrupt of this notebook from one of yours."""


def killing(part, host, process):
    def give(frames):
        for frame in frames:
            yield frame
            if socket.gethostname() == host:
                process.signal(signal.SIGKILL)  # nothing happens where another task was first

    return part.mapInPandas(give, part.schema)


def kill_a_server(servers, part):
    tables["before"] = servers.status()
    events.append((time.time(), "a server is killed"))
    last = tables["before"][-1]
    return killing(part, last.host, last.process)


def kill_an_executor(servers, part):
    if not notebook.has_own_executors:
        print("No executor is killed: they belong to a cluster, and others may use them.")
        return part
    events.append((time.time(), "an executor is killed"))
    first = tables["before"][0]
    return killing(part, first.host, first.owner)


def interrupt(servers, part):
    tables["after"] = servers.status()
    events.append((time.time(), "the job is interrupted"))
    raise StagedInterrupt


# %% [markdown]
# ## The first call
#
# The supervisor of the killed server starts it again, and the rows that were on their way are sent again. Spark runs the
# tasks of the killed executor again, on the other one or on its replacement, which starts a server at its first task. Two of
# three parts are written when the interrupt comes.

# %%
began = time.time()
try:
    job(kill_a_server, kill_an_executor, interrupt)
except StagedInterrupt:
    print("interrupted after", spark.read.parquet(target).count(), "of", rows, "rows")


def table_of(status):
    columns = [{"server": each.executor, "process": each.process and each.process.pid} for each in status]
    return [
        {**row, "state": each.state.value, "restarts": each.restarts, "reason": each.reason}
        for row, each in zip(columns, status)
    ]


notebook.show(table_of(tables["before"]))
notebook.show(table_of(tables["after"]))

# %% [markdown]
# ## The same call again
#
# It is given all rows, and asks only for those that are not there.

# %%
again = job()
seconds = time.time() - began
file_time = F.col("_metadata.file_modification_time").cast("double")
written = spark.read.parquet(target).select("id", "label", "digit", file_time.alias("at"))
notebook.show(
    [{"rows": again.rows, "written before": again.already_written, "written by the second call": again.written}]
)

# %% [markdown]
# ## Rows over time
#
# Each row counts from the moment at which Spark wrote its file.

# %%
import matplotlib.pyplot as plt

files = written.groupBy("at").count().orderBy("at").toPandas()
figure, area = plt.subplots(figsize=(7.2, 3.6))
area.step([0, *(files["at"] - began)], [0, *files["count"].cumsum()], where="post", color="#1a73e8")
for number, (moment, what) in enumerate(events):
    area.axvline(moment - began, color="#d93025" if " " in what else "#9aa0a6", linestyle="--", linewidth=1)
    area.text(moment - began, rows * (1.04 + 0.08 * number), what, fontsize=8)
area.set_xlabel("seconds")
area.set_ylabel("rows written")
plt.show()

# %%
PRICE_PER_HOUR = 1.0  # of the whole cluster, in your currency: put yours in
notebook.show_speed(rows, seconds, price_per_hour=PRICE_PER_HOUR)
restarts = sum(each.restarts for each in tables["after"])
is_right = (F.col("digit") == F.col("label")).cast("int")
found, ids, right = written.agg(F.count("*"), F.countDistinct("id"), F.avg(is_right)).first()
print(f"time and cost are those of both calls, outages included; the folder {target.rpartition('/')[2]} may be deleted")
print(f"{found:,} of {rows:,} rows, each once, in spite of it all; {right:.1%} of the digits are named right")
assert restarts >= 1
assert 0 < again.already_written < rows
assert again.already_written + again.written == found == ids == rows
assert right > 0.95
