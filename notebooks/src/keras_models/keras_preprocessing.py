# %% [markdown]
# # Raw columns into a Keras model
#
# Rows of a table are words and numbers; a network wants numbers of about one size. With Keras' preprocessing layers the
# model itself turns one into the other: it knows the words of each column, and the mean and spread of each number. So
# whoever serves it sends the columns as they are, and training and serving cannot differ.
#
# **When to use this:** prices, scores and risks from tables that mix words and numbers.

# %%
from server_utils import open_notebook

spark, notebook = open_notebook("keras_preprocessing")

# %% [markdown]
# ## The table
#
# Diamonds: what they weigh and measure, how experts judge cut, color and clarity, and what they cost in US dollars.

# %%
from pyspark.sql import functions as F

diamonds = notebook.table("diamonds", rows=notebook.pick(small=6000, full=None))
diamonds = diamonds.withColumn("known", F.xxhash64("id") % 3 != 0).cache()
words, numbers = ["cut", "color", "clarity"], ["carat", "depth", "table", "x", "y", "z"]
notebook.show(diamonds.orderBy("id").limit(4), [*words, *numbers, "price"])

# %% [markdown]
# ## Train with TensorFlow
#
# TensorFlow is in the sealed environment `tf`, not in Spark's Python: `notebook.call` runs the function there. Two
# thirds of the diamonds are known to it. It learns the logarithm of the price, and answers in dollars.


# %%
def train(columns, words, numbers, price, epochs):
    import tempfile
    from pathlib import Path

    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    table = {name: tf.constant(columns[name]) for name in words}
    table |= {name: tf.constant(columns[name], tf.float32) for name in numbers}
    table = {name: values[:, None] for name, values in table.items()}
    inputs, parts = {}, []
    for name in words:
        layer = keras.layers.StringLookup(output_mode="one_hot")
        layer.adapt(table[name])
        inputs[name] = keras.Input((1,), name=name, dtype="string")
        parts.append(layer(inputs[name]))
    for name in numbers:
        layer = keras.layers.Normalization()
        layer.adapt(table[name])
        inputs[name] = keras.Input((1,), name=name)
        parts.append(layer(inputs[name]))
    hidden = keras.layers.Concatenate()(parts)
    for width in (64, 32):
        hidden = keras.layers.Dense(width, activation="relu")(hidden)
    logarithm = keras.layers.Dense(1, bias_initializer=keras.initializers.Constant(7.8))(hidden)
    learner = keras.Model(inputs, logarithm)
    learner.compile(keras.optimizers.Adam(0.01), "mae")
    learner.fit(table, tf.math.log(tf.constant(price, tf.float32)), batch_size=256, epochs=epochs, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.keras")
        keras.Model(inputs, keras.ops.exp(logarithm)).save(file)
        return file.read_bytes()


# %%
import tempfile
from pathlib import Path

from server_utils import model_url, save_model

known = diamonds.where("known").orderBy("id").toPandas()
columns = known[words + numbers].to_dict("list")
epochs = notebook.pick(small=12, full=30)
trained = notebook.call(train, columns, words, numbers, known.price.tolist(), epochs, environment="tf")
with tempfile.TemporaryDirectory() as folder:
    Path(folder, "model.keras").write_bytes(trained)
    url = save_model(folder, model_url("diamond-prices"), overwrite=True)

# %% [markdown]
# ## Serve it
#
# The model has an input for each column, of words or of numbers, and takes them as they are in the table.


# %%
def price_server(ports, model_path):
    import keras
    import numpy as np
    import tensorflow as tf
    from pytriton.decorators import batch
    from pytriton.model_config import ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    answer = tf.function(keras.models.load_model(f"{model_path}/model.keras"), reduce_retracing=True)

    @batch
    def price(**columns):
        return {"price": answer({name: tf.constant(values) for name, values in columns.items()}).numpy()}

    inputs = [Tensor(name=name, dtype=bytes, shape=(1,)) for name in words]
    inputs += [Tensor(name=name, dtype=np.float32, shape=(1,)) for name in numbers]
    with Triton(config=TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])) as triton:
        triton.bind(
            "price",
            price,
            inputs=inputs,
            outputs=[Tensor(name="price", dtype=np.float32, shape=(1,))],
            config=ModelConfig(max_batch_size=4096),
        )
        triton.serve()


# %% [markdown]
# ## Prices for diamonds that it has not seen

# %%
import time

from server_utils import TritonServerManager, data_url

unseen = diamonds.where("not known")
with TritonServerManager("price", url, environment="tf") as servers:
    servers.start_servers(price_server)
    began = time.monotonic()
    priced = unseen.withColumn("predicted", servers.tensors(*words, *numbers))
    priced.write.mode("overwrite").parquet(data_url("priced-diamonds"))
    seconds = time.monotonic() - began

answers = spark.read.parquet(data_url("priced-diamonds")).orderBy("id").toPandas()

# %%
import matplotlib.pyplot as plt

plt.figure(figsize=(5.2, 4.4))
plt.scatter(answers.price, answers.predicted, s=6, c=answers.carat, cmap="viridis", alpha=0.6)
plt.plot([300, 20_000], [300, 20_000], color="#9aa0a6", linestyle="--")
plt.xscale("log")
plt.yscale("log")
plt.colorbar(label="carat")
plt.xlabel("price, US dollars")
plt.ylabel("predicted")
plt.title(f"{len(answers):,} diamonds that the model has not seen")
plt.show()

# %%
notebook.show(answers[[*words, "carat", "price", "predicted"]].head(5))
PRICE_PER_HOUR = 1.0  # of the whole cluster, in your currency: put yours in
notebook.show_speed(len(answers), seconds, price_per_hour=PRICE_PER_HOUR)
off = ((answers.predicted - answers.price).abs() / answers.price).median()
by_weight = known.price.median() / known.carat.median() * answers.carat
off_by_weight = ((by_weight - answers.price).abs() / answers.price).median()
print(f"the median error is {off:.0%}; with one price per carat it would be {off_by_weight:.0%}")
assert len(answers) == unseen.count()
assert off < 0.15
assert off < off_by_weight / 2
