# %% [markdown]
# # Name what is in pictures
#
# Files of pictures become pixels in Spark's tasks, on all cores; the pixels go to the server of the executor as bytes,
# and the model there answers with a class and its probability. Pictures of 150 kB pass through memory that task and
# server share, not through a socket.
#
# **When to use this:** photographs of products, of damage, of plants; any model of PyTorch that takes pictures.

# %%
from server_utils import open_notebook

spark, notebook = open_notebook("image_classification")

# %% [markdown]
# ## Pictures
#
# A column of binary files, as `spark.read.format("binaryFile")` reads it from a folder. Six are photographs, each cut in
# several ways: the answer should not depend on the cut. The seventh ends in the middle, as a broken upload does.

# %%
from pyspark.sql import functions as F

views = notebook.pick(small=8, full=500)
files = notebook.table("photos")
broken = files.where("name = 'coffee'").selectExpr("'broken' as name", "substring(file, 1, 2000) as file")
photos = notebook.spread(files.union(broken).crossJoin(spark.range(views).withColumnRenamed("id", "view")))
photos = photos.withColumn("id", F.xxhash64("name", "view")).cache()

# %% [markdown]
# ## Decode in the task
#
# The model wants 224 by 224 pixels of red, green and blue. They stay `uint8` until the model divides them: a quarter of
# the bytes of `float32`. A file that cannot be decoded becomes null, which no server is asked about: the job goes on.

# %%
import pandas as pd


@F.pandas_udf("binary")
def pixels(files: pd.Series, views: pd.Series) -> pd.Series:
    import io

    import numpy as np
    from PIL import Image

    def decode(file, view):
        try:
            picture = Image.open(io.BytesIO(file)).convert("RGB")
        except (OSError, SyntaxError, ValueError):  # what Pillow raises for broken files
            return None
        side = min(picture.size) * (0.8 + 0.2 * (view % 3) / 2)
        left, top = (picture.width - side) * (0.3 + 0.4 * (view % 2)), (picture.height - side) * 0.5
        picture = picture.resize((224, 224), box=(left, top, left + side, top + side))
        return np.asarray(picture)[:, :: -1 if view % 4 > 1 else 1].tobytes()

    return pd.Series([decode(*each) for each in zip(files, views)])


# %% [markdown]
# ## The server
#
# The folder of the model holds its code and its weights.
#
# On a GPU PyTorch runs the model as it is, or TensorRT compiles it first. TensorRT's libraries are in NVIDIA's own package
# index only, so the environment `triton` is built without them. To have them, let an init script of your own install
# `torch-tensorrt` into that environment, in the version of its `torch`. The server below takes it where it is there, and
# names the model after what runs it. That branch has run on no machine of ours so far.


# %%
def vision_server(ports, model_path):
    import importlib.util
    import sys
    from pathlib import Path

    import numpy as np
    import torch
    from pytriton.decorators import batch
    from pytriton.model_config import ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    sys.path.insert(0, model_path)
    from efficientnet_lite_pytorch import EfficientNet

    torch.set_num_threads(1)  # the cores of the host are for all of its servers and tasks
    weights = next(Path(model_path).glob("*/models/*.pth"))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(weights)).eval().to(device)
    name = "vision-by-pytorch"
    if device == "cuda" and importlib.util.find_spec("torch_tensorrt"):
        import torch_tensorrt

        sizes = {"min_shape": (1, 3, 224, 224), "opt_shape": (64, 3, 224, 224), "max_shape": (64, 3, 224, 224)}
        model = torch_tensorrt.compile(model, ir="dynamo", inputs=[torch_tensorrt.Input(**sizes)])
        name = "vision-by-tensorrt"

    @batch
    def classify(pixels):
        with torch.inference_mode():
            batch = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float()
            probability, kind = model((batch / 255 - 0.498) / 0.502).softmax(dim=1).max(dim=1)
        return {"answer": torch.stack([kind.float(), probability], dim=1).cpu().numpy()}

    with Triton(config=TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])) as triton:
        triton.bind(
            name,
            classify,
            inputs=[Tensor(name="pixels", dtype=np.uint8, shape=(224, 224, 3))],
            outputs=[Tensor(name="answer", dtype=np.float32, shape=(2,))],
            config=ModelConfig(max_batch_size=64),
        )
        triton.serve()


# %%
import time

from server_utils import TritonServerManager, data_url

with TritonServerManager("vision", notebook.model()) as servers:
    servers.start_servers(vision_server)
    print("served:", *servers.models)
    decoded = photos.select("id", "name", "view", pixels("file", "view").alias("pixels"))
    began = time.monotonic()
    answered = decoded.withColumn("answer", servers.tensors("pixels"))
    answered = answered.withColumn("pixels", F.expr("if(view = 0, pixels, null)"))  # those that are shown below
    answered.write.mode("overwrite").parquet(data_url("photo-classes"))
    seconds = time.monotonic() - began

answers = spark.read.parquet(data_url("photo-classes"))
answers = answers.select(
    "name", "view", "pixels", F.col("answer")[0].cast("int").alias("kind"), F.col("answer")[1].alias("probability")
)

# %% [markdown]
# ## What it sees
#
# The model knows ImageNet's 1,000 classes by number; these are the names of some. Shown is the first cut of each photograph.
# The clock moved while it was photographed.

# %%
import numpy as np

NAMES = {
    281: "tabby cat", 282: "tiger cat", 285: "Egyptian cat", 409: "analog clock", 504: "coffee mug", 540: "drilling platform", 657: "missile",
    665: "moped", 670: "motor scooter", 744: "projectile", 759: "reflex camera", 812: "space shuttle", 872: "tripod",
    892: "wall clock", 967: "espresso", 968: "cup", 971: "bubble",
}  # fmt: skip
RIGHT = {
    "camera": {759, 872}, "chelsea": {281, 282, 285}, "clock_motion": {409, 892}, "coffee": {504, 967, 968},
    "motorcycle_left": {665, 670}, "rocket": {657, 744, 812},
}  # fmt: skip

table = answers.where("kind is not null").drop("pixels").toPandas()
table["right"] = [kind in RIGHT[name] for name, kind in zip(table["name"], table.kind)]
firsts = answers.where("view = 0 and kind is not null").select("name", "pixels").toPandas().set_index("name").pixels
shown = table[table.view == 0].sort_values("name")
notebook.show_pictures(
    [np.frombuffer(firsts[name], np.uint8).reshape(224, 224, 3) for name in shown["name"]],
    [f"{NAMES.get(kind, f'class {kind}')}, {sure:.0%}" for kind, sure in zip(shown.kind, shown.probability)],
    shown.right,
    columns=3,
)

# %%
by_name = table.groupby("name").agg(
    views=("view", "size"), right=("right", "mean"), probability=("probability", "mean")
)
notebook.show(by_name.reset_index())
PRICE_PER_HOUR = 1.0  # of the whole cluster, in your currency: put yours in
notebook.show_speed(len(table), seconds, price_per_hour=PRICE_PER_HOUR)
accuracy, null = float(table.right.mean()), photos.count() - len(table)
print(f"{(by_name.right > 0.5).sum()} of {len(by_name)} photographs get a right name of 1,000 in most of their cuts.")
print(f"{accuracy:.0%} of all {len(table)} cuts get one; {null} cuts of the broken file are null.")
assert null == views
assert len(by_name) == files.count()
assert accuracy > 0.6
