# %% [markdown]
# # A picture classifier of your own in Keras
#
# A small network learns what brick, grass and gravel look like from the left half of three photographs, and names what is
# in each place of the right half. Spark's tasks cut the photographs into pieces; the pieces go to the server of the executor
# as bytes.
#
# Both halves are of the same photographs, in the same light. So the number at the end says that training and serving
# work. It does not say how well the network would do on another photograph of brick: for that, keep whole photographs apart.
#
# **When to use this:** inspection of surfaces, fields, scans: a few kinds, pictures of your own, and many small pieces.

# %%
from server_utils import open_notebook

spark, notebook = open_notebook("keras_image_classification")

# %% [markdown]
# ## Pieces of photographs
#
# Each photograph is decoded once, in a task, and cut into overlapping pieces of 32 by 32 pixels. The network is shown
# those that lie in the left half.

# %%
from pyspark.sql import functions as F

MATERIALS = ["brick", "grass", "gravel"]


def cut(frames):
    import io

    import numpy as np
    import pandas as pd
    from PIL import Image

    for frame in frames:
        for name, file in zip(frame.name, frame.file):
            grey = np.asarray(Image.open(io.BytesIO(file)).convert("L"))
            places = [(top, left) for top in range(0, 481, 16) for left in range(0, 481, 16)]
            pieces = [grey[top : top + 32, left : left + 32].tobytes() for top, left in places]
            yield pd.DataFrame(places, columns=["top", "left"]).assign(material=name, pixels=pieces)


surfaces = notebook.table("surfaces")
pieces = surfaces.mapInPandas(cut, "top int, left int, material string, pixels binary")
pieces = notebook.spread(pieces).cache()
known, unseen = pieces.where("left <= 224"), pieces.where("left >= 256")
notebook.show(pieces.groupBy("material").agg(F.count("*").alias("pieces")).orderBy("material"))

# %% [markdown]
# ## Train with TensorFlow
#
# TensorFlow is in the sealed environment `tf`, not in Spark's Python: `notebook.call` runs the function there. The model
# takes `uint8` and scales it itself.


# %%
def train(pixels, labels, epochs):
    import tempfile
    from pathlib import Path

    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((32, 32, 1), dtype="uint8"),
            layers.Rescaling(1 / 128, offset=-1),
            layers.RandomFlip(),
            layers.Conv2D(16, 5, strides=2, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(32, activation="relu"),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy")
    pictures = np.frombuffer(b"".join(pixels), np.uint8).reshape(-1, 32, 32, 1)
    model.fit(pictures, np.array(labels), batch_size=32, epochs=epochs, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.keras")
        model.save(file)
        return file.read_bytes()


# %%
import tempfile
from pathlib import Path

from server_utils import model_url, save_model

shown = known.orderBy("material", "top", "left").toPandas()
pixels, labels = [bytes(each) for each in shown.pixels], [MATERIALS.index(each) for each in shown.material]
trained = notebook.call(train, pixels, labels, notebook.pick(small=10, full=30), environment="tf")
with tempfile.TemporaryDirectory() as folder:
    Path(folder, "model.keras").write_bytes(trained)
    url = save_model(folder, model_url("surface-classifier"), overwrite=True)

# %% [markdown]
# ## Serve it


# %%
def surface_server(ports, model_path):
    import keras
    import numpy as np
    import tensorflow as tf
    from pytriton.decorators import batch
    from pytriton.model_config import ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    answer = tf.function(keras.models.load_model(f"{model_path}/model.keras"), reduce_retracing=True)

    @batch
    def surface(pixels):
        return {"scores": answer(tf.constant(pixels)).numpy()}

    with Triton(config=TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])) as triton:
        triton.bind(
            "surface",
            surface,
            inputs=[Tensor(name="pixels", dtype=np.uint8, shape=(32, 32, 1))],
            outputs=[Tensor(name="scores", dtype=np.float32, shape=(3,))],
            config=ModelConfig(max_batch_size=1024),
        )
        triton.serve()


# %% [markdown]
# ## Name the pieces that it has not seen

# %%
import time

from server_utils import TritonServerManager, data_url

with TritonServerManager("surface", url, environment="tf") as servers:
    servers.start_servers(surface_server)
    began = time.monotonic()
    named = unseen.withColumn("scores", servers.tensors("pixels"))
    named.drop("pixels").write.mode("overwrite").parquet(data_url("named-surfaces"))
    seconds = time.monotonic() - began

# %%
import io

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

answers = spark.read.parquet(data_url("named-surfaces")).toPandas()
answers["answer"] = [MATERIALS[scores] for scores in np.stack(answers.scores).argmax(axis=1)]
answers["right"] = answers.answer == answers.material
figure, areas = plt.subplots(1, 3, figsize=(7.2, 2.8))
for area, (name, file) in zip(areas, sorted((row.name, row.file) for row in surfaces.collect())):
    area.imshow(Image.open(io.BytesIO(file)).convert("L"), cmap="gray")
    for right, color in ((True, "#34a853"), (False, "#ea4335")):
        places = answers[(answers.material == name) & (answers.right == right)]
        area.scatter(places.left + 16, places.top + 16, s=3, color=color)
    area.axvline(256, color="white")
    area.set_title(f"{name}: {answers[answers.material == name].right.mean():.0%} right")
    area.axis("off")
plt.tight_layout()
plt.show()

# %%
counts = answers.groupby(["material", "answer"]).size().unstack(fill_value=0)
notebook.show(counts.reindex(columns=MATERIALS, fill_value=0).reset_index())
PRICE_PER_HOUR = 1.0  # of the whole cluster, in your currency: put yours in
notebook.show_speed(len(answers), seconds, price_per_hour=PRICE_PER_HOUR)
accuracy = float(answers.right.mean())
print(
    f"{accuracy:.0%} of {len(answers):,} pieces of the other halves of the same photographs are named right; guessing would reach 33%"
)
assert len(answers) == unseen.count()
assert accuracy > 0.8
