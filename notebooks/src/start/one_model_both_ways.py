# %% [markdown]
# # One model, both ways: in process and in a server
#
# A model can answer rows of Spark in two places. **In process**, each Python worker loads a copy and calls it: that is
# Spark's own `predict_batch_udf`. **In a server** beside each executor there is one copy, which all tasks of the executor
# ask: that is a sidecar. This notebook runs one model both ways on the same rows, compares the answers and the speed,
# and ends with a table for choosing.
#
# **When to use this:** first. It shows all that the other notebooks build on.

# %%
from server_utils import open_notebook

spark, notebook = open_notebook("one_model_both_ways")

# %% [markdown]
# ## A model of two sizes
#
# Networks that read handwritten digits: a small one, and one with several hundred times as many weights. They learn from
# one half of the digits here. `save_model` puts the weights where every node finds them: a folder on a laptop, a bucket or
# a Volume on a cluster.

# %%
import tempfile
import warnings

import numpy as np
from server_utils import local_model, model_url, save_model
from sklearn.neural_network import MLPClassifier

SIZES = {"small": [32], "large": [1024, 1024]}  # units in each layer

digits = notebook.table("digits")
known = digits.where("id % 2 = 0").toPandas()
pixels = np.stack(known.pixels).astype("float32")
folder, counts = tempfile.mkdtemp(), {}
for size, layers in SIZES.items():
    network = MLPClassifier(layers, random_state=0, batch_size=64, max_iter=max(4, 3200 // sum(layers)))
    with warnings.catch_warnings(action="ignore"):  # it would go on
        network.fit(pixels, known.label)
    arrays = [*network.coefs_, *network.intercepts_]
    np.savez(f"{folder}/{size}.npz", *arrays)
    counts[size] = sum(each.size for each in arrays)
url = save_model(folder, model_url("digits"), overwrite=True)

# %% [markdown]
# What they compute, in plain NumPy. Both ways use this function.


# %%
def load(model_path, size):
    import numpy as np

    arrays = list(np.load(f"{model_path}/{size}.npz").values())
    weights, biases = arrays[: len(arrays) // 2], arrays[len(arrays) // 2 :]

    def predict(pixels):
        values = pixels @ weights[0] + biases[0]
        for weight, bias in zip(weights[1:], biases[1:]):
            values = np.maximum(values, 0) @ weight + bias
        return values

    return predict


# %% [markdown]
# ## In process
#
# `predict_batch_udf` wants a function that loads the model. It runs in each Python worker: as many copies as there are
# tasks at once.

# %%
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql.types import ArrayType, FloatType


def in_process(size):
    return predict_batch_udf(
        lambda: load(local_model(url), size),
        return_type=ArrayType(FloatType()),
        batch_size=1000,
        input_tensor_shapes=[[64]],
    )("pixels")


# %% [markdown]
# ## In a server
#
# This function runs beside each executor, in a Python environment of its own. One server holds both models.


# %%
def digits_server(ports, model_path):
    import numpy as np
    from pytriton.decorators import batch
    from pytriton.model_config import ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    def digits(predict):
        return batch(lambda pixels: {"scores": predict(pixels)})

    with Triton(config=TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])) as triton:
        for size in SIZES:
            triton.bind(
                size,
                digits(load(model_path, size)),
                inputs=[Tensor(name="pixels", dtype=np.float32, shape=(64,))],
                outputs=[Tensor(name="scores", dtype=np.float32, shape=(10,))],
                config=ModelConfig(max_batch_size=4096),
            )
        triton.serve()


# %% [markdown]
# ## Both, on the digits that they have not seen, many times over
#
# Each way runs once before it is timed: a first run loads the model.

# %%
import time

from server_utils import TritonServerManager

copies = notebook.pick(small=10, full=5000)
unseen = digits.where("id % 2 = 1")
many = notebook.spread(unseen.crossJoin(spark.range(copies).withColumnRenamed("id", "copy"))).cache()
rows = many.count()


def timed(column):
    began = time.monotonic()
    many.withColumn("scores", column).write.format("noop").mode("overwrite").save()
    return time.monotonic() - began


with TritonServerManager("digits", url) as servers:
    servers.start_servers(digits_server)
    ways = {(size, "in process"): in_process(size) for size in SIZES}
    ways |= {(size, "in a server"): servers.tensors("pixels", model=size) for size in SIZES}
    for column in ways.values():
        timed(column)
    seconds = {way: min(timed(column), timed(column)) for way, column in ways.items()}
    answers = unseen.select("id", "pixels", "label", *(column.alias(", ".join(way)) for way, column in ways.items()))
    answers = answers.orderBy("id").toPandas()

# %% [markdown]
# ## What the large model read

# %%
scores = {way: np.stack(answers[", ".join(way)]) for way in ways}
read = {way: each.argmax(axis=1) for way, each in scores.items()}
shown, said = answers.head(12), read["large", "in a server"]
notebook.show_pictures([np.reshape(each, (8, 8)) for each in shown.pixels], said[:12], said[:12] == shown.label)

# %%
import matplotlib.pyplot as plt

figure, area = plt.subplots(figsize=(7.2, 2.6))
places = np.arange(len(SIZES))
for shift, (way, color) in zip((-0.2, 0.2), {"in process": "#9aa0a6", "in a server": "#1a73e8"}.items()):
    speeds = [rows / seconds[size, way] for size in SIZES]
    area.bar_label(area.bar(places + shift, speeds, width=0.38, color=color, label=way), fmt="{:,.0f}")
area.set_xticks(places, [f"{size} model: {counts[size]:,} weights" for size in SIZES])
area.set_title("rows per second")
area.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %%
PRICE_PER_HOUR = 1.0  # of the whole cluster, in your currency: put yours in
notebook.show(
    [
        {"model": size, "way": way, "rows": rows, "rows/s": rows / taken}
        | {"cost per million rows": f"{PRICE_PER_HOUR * taken / 3600 / rows * 1e6:.2f}"}
        for (size, way), taken in sorted(seconds.items(), reverse=True)
    ]
)
accuracy = {size: float((read[size, "in a server"] == answers.label).mean()) for size in SIZES}
for size in SIZES:
    gain = seconds[size, "in process"] / seconds[size, "in a server"]
    print(
        f"The {size} model reads {accuracy[size]:.1%} of {len(answers)} unseen digits, in a server {gain:.2f} times as fast"
    )
assert len(answers) == unseen.count()
assert all(np.allclose(scores[size, "in process"], scores[size, "in a server"], rtol=1e-3, atol=1e-2) for size in SIZES)
assert min(accuracy.values()) > 0.9

# %% [markdown]
# ## Which way?
#
# | | in process: `predict_batch_udf` | in a server: a sidecar |
# |---|---|---|
# | copies of the model | one per task that runs | one per executor |
# | tasks at once, on a GPU | as many as copies fit into its memory | as many as the executor has cores |
# | the model's packages | in Spark's Python | in an environment of their own |
# | a crash of the model | ends the worker and its task | restarts the server; no task fails |
# | a bad row | fails the task | fails the job, is null, or is a struct with its error |
# | best for | small models, one-off jobs | GPUs, large models, long jobs |
#
# The way to a server and back costs about the same for each row, whatever the model. So a model as small as these is
# slower in a server than in process, and the larger it is, the less the way matters: compare the two numbers above.
# What a server saves shows with models that a laptop does not hold: in process twice the tasks need twice the memory, in
# a server they need no more. [Choosing a strategy](../../docs/guides/strategy.md) has longer measurements on an idle machine.
