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
# ## A model
#
# A small network that reads handwritten digits. It learns from one half of them here. `save_model` puts its weights where
# every node finds them: a folder on a laptop, a bucket or a Volume on a cluster.

# %%
import tempfile

import numpy as np
from server_utils import local_model, model_url, save_model
from sklearn.neural_network import MLPClassifier

digits = notebook.table("digits")
known = digits.where("id % 2 = 0").toPandas()
trained = MLPClassifier([64], random_state=0, max_iter=1000).fit(np.stack(known.pixels), known.label)
weights = dict(zip(["w1", "w2"], trained.coefs_)) | dict(zip(["b1", "b2"], trained.intercepts_))
folder = tempfile.mkdtemp()
np.savez(f"{folder}/weights.npz", **{name: value.astype("float32") for name, value in weights.items()})
url = save_model(folder, model_url("digits"), overwrite=True)

# %% [markdown]
# What it computes, in plain NumPy. Both ways use this function.


# %%
def load(model_path):
    import numpy as np

    weights = np.load(f"{model_path}/weights.npz")

    def predict(pixels):
        hidden = np.maximum(pixels @ weights_of["w1"] + weights_of["b1"], 0)
        return hidden @ weights_of["w2"] + weights_of["b2"]

    weights_of = {name: weights[name] for name in weights.files}
    return predict


# %% [markdown]
# ## In process
#
# `predict_batch_udf` wants a function that loads the model. It runs in each Python worker: as many copies as there are
# tasks at once.

# %%
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql.types import ArrayType, FloatType

in_process = predict_batch_udf(
    lambda: load(local_model(url)), return_type=ArrayType(FloatType()), batch_size=1000, input_tensor_shapes=[[64]]
)

# %% [markdown]
# ## In a server
#
# This function runs beside each executor, in a Python environment of its own, and serves the model.


# %%
def digits_server(ports, model_path):
    import numpy as np
    from pytriton.decorators import batch
    from pytriton.model_config import ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    predict = load(model_path)

    @batch
    def digits(pixels):
        return {"scores": predict(pixels)}

    with Triton(config=TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])) as triton:
        triton.bind(
            "digits",
            digits,
            inputs=[Tensor(name="pixels", dtype=np.float32, shape=(64,))],
            outputs=[Tensor(name="scores", dtype=np.float32, shape=(10,))],
            config=ModelConfig(max_batch_size=4096),
        )
        triton.serve()


# %% [markdown]
# ## Both, on the digits that it has not seen, many times over
#
# Each way runs once before it is timed: a first run loads the model.

# %%
import time

from server_utils import TritonServerManager

copies = notebook.pick(small=25, full=5000)
unseen = digits.where("id % 2 = 1")
many = unseen.crossJoin(spark.range(copies).withColumnRenamed("id", "copy")).repartition(8).cache()
rows = many.count()


def timed(column):
    began = time.monotonic()
    many.withColumn("scores", column).write.format("noop").mode("overwrite").save()
    return time.monotonic() - began


with TritonServerManager("digits", url) as servers:
    servers.start_servers(digits_server)
    ways = {"in process": in_process("pixels"), "in a server": servers.tensors("pixels")}
    for column in ways.values():
        timed(column)
    seconds = {name: min(timed(column), timed(column)) for name, column in ways.items()}
    answers = unseen.select(
        "id", "pixels", "label", in_process("pixels").alias("process"), ways["in a server"].alias("server")
    )
    answers = answers.orderBy("id").toPandas()

# %%
import matplotlib.pyplot as plt

scores = {name: np.stack(answers[name]) for name in ("process", "server")}
read = scores["server"].argmax(axis=1)
figure, (left, right) = plt.subplots(1, 2, width_ratios=[2, 1])
sample = answers.head(24)
left.imshow(
    np.block(
        [
            [np.pad(np.reshape(sample.pixels[6 * row + column], (8, 8)), ((1, 1), (1, 5))) for column in range(6)]
            for row in range(4)
        ]
    ),
    cmap="Greys",
)
for place in range(24):
    color = "#188038" if read[place] == sample.label[place] else "#d93025"
    left.text(place % 6 * 14 + 9.5, place // 6 * 10 + 6.5, read[place], color=color, fontweight="bold")
left.set(title="what the server read", xticks=[], yticks=[])
right.bar(list(seconds), [rows / each for each in seconds.values()], color=["#9aa0a6", "#1a73e8"])
right.set_title("rows per second")
plt.show()

# %%
accuracy = float((read == answers.label).mean())
notebook.show([{"way": name, "rows": rows, "rows/s": rows / each} for name, each in seconds.items()])
print(f"{accuracy:.1%} of {len(answers)} unseen digits are read right, by the same answers both ways")
assert len(answers) == unseen.count()
assert np.allclose(scores["process"], scores["server"], atol=1e-3)
assert accuracy > 0.9

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
# A model as small as this one costs less than the way to a server and back: in process is right for it. The difference
# comes with the size of the model: in process twice the tasks need twice the memory, in a server they need no more.
