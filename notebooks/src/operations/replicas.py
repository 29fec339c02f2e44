# %% [markdown]
# # Replicas, or one model over several GPUs
#
# An executor with several GPUs can be used in two ways. *Replicas* are whole copies of the model, each with a server of its
# own. *Tensor parallel* spreads one copy over several GPUs, which compute each layer together. This notebook tries every
# arrangement that the executors allow, asks each that starts the same rows, and measures.
#
# **When to use this:** before a long job on executors with more than one GPU. Without GPUs it shows two servers beside each
# executor, and that they share its rows.

# %%
from server_utils import open_notebook

spark, notebook = open_notebook("replicas")

# %% [markdown]
# ## Rows
#
# Some rows are asked first, so that every arrangement is measured warm. The others are asked once per arrangement.

# %%
from pyspark.sql import functions as F

task = "Name the mood of this movie review in one word.\n\n"
warming = notebook.pick(small=8, full=64)
reviews = notebook.table("movie_reviews", rows=warming + notebook.pick(small=32, full=4000))
reviews = reviews.withColumn("question", F.concat(F.lit(task), "text")).cache()
last = reviews.orderBy("id").limit(warming).agg(F.max("id")).first()[0]
notebook.show(reviews.orderBy("id").limit(3), ["id", "text"])

# %% [markdown]
# ## Every arrangement
#
# `replicas` servers share the GPUs of their executor equally. `tensor_parallel_size` is how many GPUs one of them takes; its
# heads of attention must divide by that number. Without GPUs a server takes some cores, and two servers share what there is.


# %%
def name_of(replicas, size):
    servers = f"{replicas} server" + "s" * (replicas > 1)
    return f"{servers} × {size} GPU" + "s" * (size > 1) if notebook.gpus else servers


gpus = max(1, notebook.gpus)
sizes = [size for size in (1, 2, 4) if gpus % size == 0]
ways = notebook.pick(small=[(1, 1), (2, 1)], full=[(gpus // size, size) for size in sizes])

# %%
import time

from server_utils import ServerStartError, VLLMServerManager, data_url

few = notebook.pick(small=8, full=None)  # rows in flight per task and server: so few that a short task asks all servers


def ask(servers, rows):
    mood = servers.chat("question", max_tokens=8, temperature=0, window=few)
    rows = rows.repartition(4 * len(servers.urls))  # several tasks for each server, on however many executors
    rows.select("id", mood.alias("mood")).write.mode("overwrite").parquet(data_url("moods"))


measured, misfits, counts = [], [], []
for replicas, size in ways:
    way = {"replicas": replicas, "tensor parallel": size}
    options = notebook.engine_options(max_model_len=2048) | {"replicas": replicas, "tensor_parallel_size": size}
    with VLLMServerManager(f"moods-{replicas}-{size}", notebook.model()) as servers:
        began = time.monotonic()
        try:
            servers.start_servers(**options)
        except ServerStartError as error:
            print(f"{name_of(replicas, size)} did not start: {str(error)[-800:]}")
            nothing = dict.fromkeys(("rows", "rows/s, warm", "rows of each server"), "")
            misfits.append(way | {"until warm, s": "does not fit"} | nothing)
            continue
        ask(servers, reviews.where(F.col("id") <= last))
        until_warm, began = time.monotonic() - began, time.monotonic()
        ask(servers, reviews.where(F.col("id") > last))
        seconds = time.monotonic() - began
        status = servers.status()
    answered = spark.read.parquet(data_url("moods")).where("mood is not null").count()
    executors = {each.owner for each in status if each.rows}  # those that got tasks
    counts.append([each.rows for each in status if each.owner in executors])
    measured.append(
        way
        | {
            "until warm, s": until_warm,
            "rows": answered,
            "rows/s, warm": answered / seconds,
            "rows of each server": " + ".join(str(each.rows) for each in status),
        }
    )

# %% [markdown]
# ## What came out

# %%
import matplotlib.pyplot as plt

assert measured, "no arrangement fits; above is why"
names = [name_of(each["replicas"], each["tensor parallel"]) for each in measured]
figure, (speed, share) = plt.subplots(1, 2, figsize=(7.2, 2.6), layout="constrained")
speeds = [each["rows/s, warm"] for each in measured]
speed.bar_label(speed.bar(names, speeds, color="#1a73e8", width=0.6), [f"{each:.1f}" for each in speeds])
speed.set_ylim(0, 1.2 * max(speeds))
speed.set_yticks([])
speed.set_title("rows per second")
for name, rows in zip(names, counts):
    starts = [sum(rows[:number]) for number in range(len(rows))]
    share.barh(name, rows, left=starts, color="#1a73e8", edgecolor="white")
share.invert_yaxis()
share.set_title("rows of each server")
speed.set_xlabel("beside each executor")
plt.show()

# %%
notebook.show(measured + misfits)
best = max(measured, key=lambda each: each["rows/s, warm"])
PRICE_PER_HOUR = 1.0  # of the whole cluster, in your currency: put yours in
print(f"{name_of(best['replicas'], best['tensor parallel'])} beside each executor answered fastest:")
notebook.show_speed(best["rows"], best["rows"] / best["rows/s, warm"], price_per_hour=PRICE_PER_HOUR)
asked = reviews.count() - warming
assert all(each["rows"] == asked for each in measured)
assert all(min(rows) > 0 and sum(rows) == asked + warming for rows in counts)
assert all(len(rows) % each["replicas"] == 0 for rows, each in zip(counts, measured))

# %% [markdown]
# The first arrangement's time until warm includes the copy of the model from its store to each host; the others find it
# there.
#
# ## Which one?
#
# | your case | arrangement |
# |---|---|
# | the model and some dozen rows fit on one GPU | `replicas` = GPUs of the executor: no traffic between GPUs |
# | they do not fit on one | the smallest `tensor_parallel_size` on which they fit, and replicas for the rest |
# | long prompts, or many rows at once | a larger `tensor_parallel_size`: the weights take less of each GPU, the cache gets more |
# | one answer has to come soon | tensor parallel, where NVLink joins the GPUs |
# | no GPU | one server per executor: replicas only divide the same cores |
#
# `spark-sidecar fit MODEL` says on how many GPUs a model fits ([GPU sizing](../../docs/guides/gpu-sizing.md)).
