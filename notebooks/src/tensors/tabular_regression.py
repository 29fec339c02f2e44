# %% [markdown]
# # A regression with PyTorch on a table
#
# Ten columns of numbers go in, one comes out. The network is trained here with scikit-learn and served by PyTorch beside
# each executor: training and serving need not share an environment. Each column is an input of the model of its own, by
# its name.
#
# **When to use this:** scores, prices and forecasts over wide tables.

# %%
from server_utils import open_notebook

spark, notebook = open_notebook("tabular_regression")

# %% [markdown]
# ## The table
#
# Measurements of 442 patients, and how far their diabetes had progressed a year later (25 to 346).

# %%
from pyspark.sql import functions as F

patients = notebook.table("diabetes").withColumn("known", F.xxhash64("id") % 3 != 0).cache()
names = [name for name in patients.columns if name not in ("id", "target", "known")]
notebook.show(patients.orderBy("id").limit(3), ["id", *names, "target"])

# %% [markdown]
# ## Train, and save the weights

# %%
import tempfile

import numpy as np
from server_utils import model_url, save_model
from sklearn.neural_network import MLPRegressor

known = patients.where("known").orderBy("id").toPandas()
mean, spread = known[names].mean(), known[names].std()
target_mean, target_spread = known.target.mean(), known.target.std()
network = MLPRegressor(hidden_layer_sizes=[16], alpha=30.0, solver="lbfgs", max_iter=2000, random_state=0)
network.fit((known[names] - mean) / spread, (known.target - target_mean) / target_spread)
arrays = {
    "mean": mean, "spread": spread, "target": np.array([target_mean, target_spread]),
    "w1": network.coefs_[0], "b1": network.intercepts_[0], "w2": network.coefs_[1], "b2": network.intercepts_[1],
}  # fmt: skip
folder = tempfile.mkdtemp()
np.savez(f"{folder}/network.npz", **{name: np.asarray(value, dtype="float32") for name, value in arrays.items()})
url = save_model(folder, model_url("diabetes"), overwrite=True)

# %% [markdown]
# ## Serve it with PyTorch
#
# `names` travels with the function: the model has an input for each.


# %%
def regression_server(ports, model_path):
    import numpy as np
    import torch
    from pytriton.decorators import batch
    from pytriton.model_config import ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    torch.set_num_threads(1)  # the cores of the host are for all of its servers and tasks
    device = "cuda" if torch.cuda.is_available() else "cpu"
    arrays = {name: torch.from_numpy(value).to(device) for name, value in np.load(f"{model_path}/network.npz").items()}
    hidden, last = torch.nn.Linear(len(names), arrays["w1"].shape[1]), torch.nn.Linear(arrays["w1"].shape[1], 1)
    hidden.load_state_dict({"weight": arrays["w1"].T, "bias": arrays["b1"]})
    last.load_state_dict({"weight": arrays["w2"].T, "bias": arrays["b2"]})
    network = torch.nn.Sequential(hidden, torch.nn.ReLU(), last).eval().to(device)

    @batch
    def progress(**columns):
        table = torch.from_numpy(np.concatenate([columns[name] for name in names], axis=1)).to(device)
        with torch.inference_mode():
            found = network((table - arrays["mean"]) / arrays["spread"])
        return {"progress": (found * arrays["target"][1] + arrays["target"][0]).cpu().numpy()}

    with Triton(config=TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])) as triton:
        triton.bind(
            "progress",
            progress,
            inputs=[Tensor(name=name, dtype=np.float32, shape=(1,)) for name in names],
            outputs=[Tensor(name="progress", dtype=np.float32, shape=(1,))],
            config=ModelConfig(max_batch_size=4096),
        )
        triton.serve()


# %% [markdown]
# ## Predict
#
# One column for each input, in the order of the model. For the speed the table is repeated.

# %%
import time

from server_utils import TritonServerManager

copies = notebook.pick(small=20, full=20_000)
many = notebook.spread(patients.crossJoin(spark.range(copies).withColumnRenamed("id", "copy"))).cache()
rows = many.count()

with TritonServerManager("progress", url) as servers:
    servers.start_servers(regression_server)
    predicted = servers.tensors(*names)
    answers = patients.where("not known").withColumn("predicted", predicted).toPandas()
    began = time.monotonic()
    many.withColumn("predicted", predicted).write.format("noop").mode("overwrite").save()
    seconds = time.monotonic() - began

# %%
import matplotlib.pyplot as plt

plt.figure(figsize=(4.6, 4.2))
plt.scatter(answers.target, answers.predicted, s=14, color="#1a73e8", alpha=0.7)
plt.plot([25, 346], [25, 346], color="#9aa0a6", linestyle="--")
plt.xlabel("progression after a year")
plt.ylabel("predicted")
plt.title(f"{len(answers)} patients that the network has not seen")
plt.show()

# %%
PRICE_PER_HOUR = 1.0  # of the whole cluster, in your currency: put yours in
explained = 1 - float(
    ((answers.target - answers.predicted) ** 2).sum() / ((answers.target - answers.target.mean()) ** 2).sum()
)
here = network.predict((answers[names] - mean) / spread) * target_spread + target_mean
notebook.show_speed(rows, seconds, price_per_hour=PRICE_PER_HOUR)
print(f"{explained:.0%} of the variance is explained; the mean of all would explain 0%")
assert len(answers) == patients.where("not known").count()
assert np.allclose(answers.predicted, here, rtol=1e-2, atol=1.0)
assert explained > 0.3
