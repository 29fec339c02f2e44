# %% [markdown]
# # Models in cloud storage
#
# Where a model is kept differs by platform: a Volume, a bucket, a folder. `model_url` says where it belongs here, and
# every other call takes what it says. This notebook saves a model, finds out what is there, loads it on every
# executor, and serves it from its URL.
#
# **When to use this:** as soon as a model is used by more than one job.

# %%
from server_utils import open_notebook

spark, notebook = open_notebook("models_in_cloud_storage")

# %% [markdown]
# ## Train and save
#
# Any framework's files will do: what is saved is a folder, byte by byte, with a manifest of its files and their hashes.

# %%
import tempfile

import numpy as np
from server_utils import model_url, save_model
from sklearn.neural_network import MLPClassifier

digits = notebook.table("digits")
known = digits.where("id % 2 = 0").toPandas()
trained = MLPClassifier([32], random_state=0, max_iter=1000, alpha=1.0).fit(np.stack(known.pixels), known.label)
folder = tempfile.mkdtemp()
layers = {"w1": trained.coefs_[0], "b1": trained.intercepts_[0], "w2": trained.coefs_[1], "b2": trained.intercepts_[1]}
np.savez(f"{folder}/weights.npz", **{name: value.astype("float32") for name, value in layers.items()})

url = save_model(folder, model_url("digits-in-storage"), overwrite=True)
print("saved to", url.partition("://")[0] + "://…" if "://" in url else "a folder of this machine")

# %% [markdown]
# ## A model is not replaced by accident
#
# Saving over one takes `overwrite=True`, and is one step: whoever loads it meanwhile gets the old one or the new one.

# %%
from server_utils import ModelExistsError

try:
    save_model(folder, url)
except ModelExistsError as error:
    refusal = str(error).replace(url, "URL")
print(refusal)

# %% [markdown]
# ## Load it on every executor
#
# `local_model` gives a folder on the node. However many tasks ask, each host fetches the model once and checks every byte.

# %%
import time

from server_utils import local_model


def load(numbers):
    began = time.monotonic()
    path = local_model(url)
    weights = np.load(f"{path}/weights.npz")
    for _ in numbers:
        yield str(path), int(sum(weights[name].size for name in weights.files)), time.monotonic() - began


loads = spark.createDataFrame(
    spark.sparkContext.parallelize(range(8), 8).mapPartitions(load), "folder string, weights long, seconds double"
)
loads = loads.toPandas()
notebook.show(
    [
        {
            "tasks": len(loads),
            "folders": loads.folder.nunique(),
            "weights": loads.weights[0],
            "slowest, s": loads.seconds.max(),
        }
    ]
)

# %% [markdown]
# ## Serve it from its URL
#
# A manager takes the URL as well. Each host has the model before its server starts; the function gets the local folder.


# %%
def digits_server(ports, model_path):
    import numpy as np
    from pytriton.decorators import batch
    from pytriton.model_config import ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    weights = dict(np.load(f"{model_path}/weights.npz"))

    @batch
    def digits(pixels):
        hidden = np.maximum(pixels @ weights["w1"] + weights["b1"], 0)
        return {"scores": hidden @ weights["w2"] + weights["b2"]}

    with Triton(config=TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])) as triton:
        triton.bind(
            "digits",
            digits,
            inputs=[Tensor(name="pixels", dtype=np.float32, shape=(64,))],
            outputs=[Tensor(name="scores", dtype=np.float32, shape=(10,))],
            config=ModelConfig(max_batch_size=1024),
        )
        triton.serve()


# %%
from server_utils import TritonServerManager

unseen = digits.where("id % 2 = 1")
with TritonServerManager("digits", url) as servers:
    servers.start_servers(digits_server)
    answers = unseen.select("label", servers.tensors("pixels").alias("scores")).toPandas()

# %% [markdown]
# ## What the model has learned
#
# Each picture is what one of its 32 inner units looks for: dark where ink speaks for it, red where ink speaks against it.

# %%
import matplotlib.pyplot as plt

figure, areas = plt.subplots(4, 8, figsize=(7.2, 3.8))
for area, weights in zip(areas.flat, layers["w1"].T):
    area.imshow(weights.reshape(8, 8), cmap="RdGy", vmin=-0.3, vmax=0.3)
    area.axis("off")
plt.show()

# %%
accuracy = float((np.stack(answers.scores).argmax(axis=1) == answers.label).mean())
print(f"{accuracy:.1%} of {len(answers)} unseen digits are read right by the model from storage")
assert len(answers) == unseen.count()
assert accuracy > 0.9
assert (loads.weights == sum(value.size for value in layers.values())).all()
