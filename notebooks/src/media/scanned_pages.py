# %% [markdown]
# # Read scanned pages
#
# Spark's tasks straighten the scans and cut them into lines; the model on the server of the executor reads each line. So
# pages become many small rows, which all executors share.
#
# **When to use this:** books, letters, contracts, typed files: print in one column, beside pictures or not. Forms and
# tables want a model that finds the places of their texts first.

# %%
from server_utils import open_notebook

spark, notebook = open_notebook("scanned_pages")

# %% [markdown]
# ## Scans
#
# The page is from the first American edition of *Adventures of Huckleberry Finn*, as somebody scanned it. It stands for an
# archive: it lies in the scanner several times, turned a little differently each time.

# %%
from pyspark.sql import functions as F

times = notebook.pick(small=4, full=400)
scans = notebook.table("scans").crossJoin(spark.range(times).withColumnRenamed("id", "scan"))
scans = scans.repartition(times)  # a page takes seconds: a task for each
scans = scans.withColumn("turned", (F.col("scan") % 5 - 1) * 0.8)  # degrees; 0 for scans of your own

# %% [markdown]
# ## From pages to lines
#
# A page is straight where its rows differ most: lines of print are dark, what is between them is not. It is cut at blank
# rows, and what is too tall for a line is cut at blank columns first. What is too tall even then is a picture.


# %%
import time


def straighten(file, turned):
    import io

    import numpy as np
    from PIL import Image

    page = Image.open(io.BytesIO(file)).convert("L")
    paper, smooth = int(np.median(page)), Image.Resampling.BICUBIC
    page = page.rotate(turned, smooth, expand=True, fillcolor=paper)
    small = page.reduce(2)

    def contrast(angle):
        rows = np.asarray(small.rotate(angle, fillcolor=paper), np.float32).mean(axis=1)
        return np.square(np.diff(rows)).sum()

    return page.rotate(max(np.arange(-4, 4.1, 0.2), key=contrast), smooth, fillcolor=paper)


def rectangles(ink, tall, top=0, left=0):
    import numpy as np

    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return
    ways = [(rows, 1), (columns, 6)] if rows[-1] - rows[0] > tall else [(rows, 1)]
    for used, gap in ways:
        parts = np.split(used, np.flatnonzero(np.diff(used) > gap) + 1)
        if len(parts) > 1:
            for start, end in ((part[0], part[-1] + 1) for part in parts):
                if used is rows:
                    yield from rectangles(ink[start:end], tall, top + start, left)
                else:
                    yield from rectangles(ink[:, start:end], tall, top, left + start)
            return
    yield tuple(int(each) for each in (left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1))


def lines(frames):
    import numpy as np
    import pandas as pd
    from PIL import Image

    for frame in frames:
        for scan in frame.itertuples():
            page = straighten(scan.file, scan.turned)
            ink, tall = np.asarray(page) < 0.68 * np.median(page), page.height // 24
            for left, top, right, bottom in rectangles(ink, tall):
                if 8 < bottom - top < tall:
                    box = (max(left - 3, 0), max(top - 3, 0), min(right + 3, page.width), min(bottom + 3, page.height))
                    width = round(48 * (box[2] - box[0]) / (box[3] - box[1]))
                    line = page.resize((width, 48), Image.Resampling.BICUBIC, box=box).tobytes()
                    yield pd.DataFrame([(scan.scan, scan.turned, *box, line)], columns=COLUMNS)


COLUMNS = ["scan", "turned", "left", "top", "right", "bottom", "line"]
schema = "scan long, turned double, left int, top int, right int, bottom int, line binary"
began = time.monotonic()
found = notebook.spread(scans.mapInPandas(lines, schema)).cache()
notebook.show(found.groupBy("scan", "turned").agg(F.count("*").alias("lines")).orderBy("scan").limit(5))
cutting = time.monotonic() - began  # of all pages: their lines wait in memory

# %% [markdown]
# ## The server
#
# The model takes lines of 48 rows of pixels and any width. For each step to the right it says which of some 18,000
# characters it sees, or none. What it is not sure of is no text.


# %%
def page_server(ports, model_path):
    import json
    from pathlib import Path

    import numpy as np
    import torch
    from pytriton.decorators import batch
    from pytriton.model_config import ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig
    from transformers import AutoModelForTextRecognition

    torch.set_num_threads(1)  # the cores of the host are for all of its servers and tasks
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForTextRecognition.from_pretrained(model_path).eval().to(device)
    characters = json.loads(Path(model_path, "preprocessor_config.json").read_text())["character_list"]

    def text(sure, seen):
        kept = (np.diff(seen, prepend=0) != 0) & (seen != 0)
        return "".join(characters[each] for each in seen[kept]) if kept.any() and sure[kept].mean() > 0.6 else ""

    @batch
    def read(line):
        greys = [np.frombuffer(each, np.uint8).reshape(48, -1) for each in line[:, 0]]
        pixels = np.zeros((len(greys), 1, 48, max(grey.shape[1] for grey in greys)), np.float32)
        for place, grey in zip(pixels[:, 0], greys):
            place[:, : grey.shape[1]] = grey / 127.5 - 1
        with torch.inference_mode():
            answer = model(torch.from_numpy(pixels).to(device).expand(-1, 3, -1, -1)).last_hidden_state.max(dim=2)
        texts = map(text, answer.values.cpu().numpy(), answer.indices.cpu().numpy())
        return {"text": np.char.encode([[each.strip()] for each in texts], "utf-8")}

    with Triton(config=TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])) as triton:
        triton.bind(
            "read",
            read,
            inputs=[Tensor(name="line", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="text", dtype=bytes, shape=(1,))],
            config=ModelConfig(max_batch_size=8),
        )
        triton.serve()


# %%
from server_utils import TritonServerManager, data_url

with TritonServerManager("pages", notebook.model()) as servers:
    servers.start_servers(page_server)
    began = time.monotonic()
    read = found.withColumn("text", servers.tensors("line")).drop("line")
    read.write.mode("overwrite").parquet(data_url("read-lines"))
    reading = time.monotonic() - began

answers = spark.read.parquet(data_url("read-lines")).orderBy("scan", "top", "left").toPandas()
notebook.show(answers[(answers.scan == 0) & (answers.text != "")][["top", "text"]].head(8))

# %% [markdown]
# ## What stands there
#
# The table has the text of the page as a person reads it, without the title of its chapter, which is drawn. How many
# characters of what was read must be changed, left out or put in?
#
# Most of them have one cause. The words below the picture stand at the height of a line of the text, so both are cut as one
# line, and the words are read in the middle of a sentence. A model that finds the places of texts would keep them apart.

# %%
import re


def plain(text):
    return re.sub(r" ([;?!])", r"\1", " ".join(text.split()))


wanted = plain(scans.first().text)
shown = answers[answers.scan < 5]  # the others are turned like one of them
texts = shown.groupby("scan").agg(turned=("turned", "first"), text=("text", lambda texts: plain(" ".join(texts))))
texts["wrong"] = [notebook.edits(text, wanted) / len(wanted) for text in texts.text]

# %%
import matplotlib.pyplot as plt

page = straighten(scans.where("scan = 0").first().file, answers.turned[0])
figure, (seen, said) = plt.subplots(1, 2, figsize=(8.4, 5.6), dpi=100, sharex=True, sharey=True)
seen.imshow(page, cmap="gray")
for row in answers[(answers.scan == 0) & (answers.text != "")].itertuples():
    seen.add_patch(
        plt.Rectangle((row.left, row.top), row.right - row.left, row.bottom - row.top, fill=False, color="#1a73e8")
    )
    said.text(row.left, (row.top + row.bottom) / 2, row.text, fontsize=5.5, va="center")
said.set_aspect("equal")
for area, title in ((seen, "where lines were found"), (said, "what was read there")):
    area.set_title(title)
    area.set_axis_off()
plt.tight_layout()
plt.show()

# %%
notebook.show(texts[["turned", "wrong"]].reset_index())
PRICE_PER_HOUR = 1.0  # of the whole cluster, in your currency: put yours in
pages, seconds = scans.count(), cutting + reading
cost = f"{PRICE_PER_HOUR * seconds / 3600 / pages * 1000:.2f}"
notebook.show([{"pages": pages, "to cut, s": cutting, "to read, s": reading, "cost per 1,000 pages": cost}])
notebook.show_speed(len(answers), seconds, price_per_hour=PRICE_PER_HOUR)
wrong = float(texts.wrong.mean())
print(f"{wrong:.1%} of {len(wanted):,} characters are wrong")
assert len(answers) == found.count()
assert answers.scan.nunique() == pages
assert wrong < 0.04
