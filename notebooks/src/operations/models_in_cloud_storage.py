# %% [markdown]
# # Models in cloud storage
#
# Where a model is kept differs by platform: a Volume, a bucket, a folder. `model_url` says where it belongs here, and
# every other call takes what it says. This notebook saves a model, is refused when it would replace it, loads it on
# every executor, and serves it from its URL.
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
# A later job asks the store only whether the model is still the same. There are two tasks for each task slot of Spark, so
# each executor gets some, unless it is busy with other work.
#
# When you run this notebook again, it saves the same bytes, and the hosts still have them. Then the first load is as short as
# the second.

# %%
from server_utils import local_model

COLUMNS = ["host", "folder", "weights", "seconds"]


def load(frames):
    import socket
    import time

    import pandas as pd

    for _ in frames:
        began = time.monotonic()
        path = local_model(url)
        seconds = time.monotonic() - began
        weights = sum(each.size for each in np.load(f"{path}/weights.npz").values())
        yield pd.DataFrame([(socket.gethostname(), path.name, weights, seconds)], columns=COLUMNS)


tasks = notebook.spread(spark.range(1000))
loads = {}
for time_of in ("first load", "second load"):
    loads[time_of] = tasks.mapInPandas(load, "host string, folder string, weights long, seconds double").toPandas()
first = loads["first load"]
counts = {"tasks": len(first), "hosts": first.host.nunique(), "folders": first.folder.nunique()}
notebook.show([counts | {f"longest {name}, ms": 1000 * each.seconds.max() for name, each in loads.items()}])

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
import time

from server_utils import TritonServerManager

copies = notebook.pick(small=10, full=5000)
unseen = digits.where("id % 2 = 1")
many = notebook.spread(unseen.crossJoin(spark.range(copies).withColumnRenamed("id", "copy"))).cache()
rows = many.count()
with TritonServerManager("digits", url) as servers:
    servers.start_servers(digits_server)
    scores = servers.tensors("pixels")
    answers = unseen.select("label", scores.alias("scores")).toPandas()
    began = time.monotonic()
    many.withColumn("scores", scores).write.format("noop").mode("overwrite").save()
    seconds = time.monotonic() - began

# %% [markdown]
# ## What a load costs
#
# For each host, the longest time that one of its tasks waited for the model. This model has 10 kB, so a first load takes
# little more than asking the store, if anything. With a model of gigabytes the first load takes minutes, the second does not.

# %%
import matplotlib.pyplot as plt
import pandas as pd

waits = pd.DataFrame({name: 1000 * each.groupby("host").seconds.max() for name, each in loads.items()})
waits = waits.head(20)  # hosts
area = waits.plot.barh(figsize=(7.2, 1.2 + 0.5 * len(waits)), color=["#1a73e8", "#9aa0a6"], width=0.7)
area.invert_yaxis()
area.set_yticks(range(len(waits)), [f"host {number}" for number in range(1, len(waits) + 1)])
area.set(xlabel="milliseconds", ylabel="")
area.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %%
PRICE_PER_HOUR = 1.0  # of the whole cluster, in your currency: put yours in
notebook.show_speed(rows, seconds, price_per_hour=PRICE_PER_HOUR)
accuracy = float((np.stack(answers.scores).argmax(axis=1) == answers.label).mean())
print(f"{accuracy:.1%} of {len(answers)} unseen digits are read right by the model from storage")
assert len(answers) == unseen.count()
assert accuracy > 0.9
assert all((each.weights == sum(layer.size for layer in layers.values())).all() for each in loads.values())
assert all((each.groupby("host").folder.nunique() == 1).all() for each in loads.values())
