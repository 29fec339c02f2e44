# %% [markdown]
# # A language model in process, and in a server
#
# With `predict_batch_udf` each Python worker of Spark loads a language model by `transformers` and answers its batches
# itself. A vLLM server beside each executor answers the same rows. This notebook asks both ways, and compares the answers,
# the speed and the copies of the model.
#
# **When to use this:** before a job, to choose the way. In process is right where the model is small, runs once, or has
# no server; a server is right for everything longer.

# %%
from server_utils import open_notebook

spark, notebook = open_notebook("in_process_batch")

# %% [markdown]
# ## Rows
#
# Short reviews, each of which is to get a title.

# %%
from pyspark.sql import functions as F

tasks = notebook.pick(small=2, full=4)  # each loads a copy, and an executor may run all of them on one GPU
warming = notebook.pick(small=2, full=16)  # the first rows of each task, which are asked before those that are timed
task = "Write a title of at most five words for this movie review.\n\n"
asked = notebook.table("movie_reviews", rows=notebook.pick(small=400, full=None))
asked = asked.where("length(text) between 60 and 120").orderBy("id")
asked = asked.limit(tasks * warming + notebook.pick(small=12, full=2000)).repartition(tasks)
place = F.monotonically_increasing_id() % (1 << 33)  # of a row in its partition
asked = asked.select(
    "id", "text", F.concat(F.lit(task), "text").alias("question"), (place < warming).alias("warms")
).cache()
reviews = asked.where("not warms")
notebook.show(reviews.orderBy("id").limit(3), ["id", "text"])

# %% [markdown]
# ## In a server
#
# All tasks of an executor share its server, which puts their rows into one batch and takes a new row as soon as one is
# done.
#
# Both ways are timed warm. First come the start and a few other rows, which count apart; then the rows of the table. Of
# these the servers have seen the task only, with which each question begins. Both ways compute in the same precision.

# %%
import time

from server_utils import VLLMServerManager, data_url

words = notebook.pick(small=12, full=24)  # tokens of an answer, at most
precision = notebook.pick(small={"dtype": "float32"}, full={})  # at full scale vLLM takes what the GPU computes


def timed(name, rows, column):
    began = time.monotonic()
    rows.withColumn("title", column).drop("question", "warms").write.mode("overwrite").parquet(data_url(name))
    return time.monotonic() - began


asked.count()  # the rows wait in memory
until_warm, seconds, url = {}, {}, notebook.model()
with VLLMServerManager("titles", url) as servers:
    began = time.monotonic()
    servers.start_servers(**notebook.engine_options(max_model_len=2048), **precision)
    copies_of_servers = len(servers.urls)
    title = servers.chat("question", max_tokens=words, temperature=0)
    timed("warming", asked.where("warms"), title)
    until_warm["in a server"] = time.monotonic() - began
    seconds["in a server"] = timed("server-titles", reviews, title)

# %% [markdown]
# ## In process
#
# The same model by `transformers`, which pads a batch to its longest row and waits for the longest answer. Spark's Python
# does not have `transformers` everywhere. `add_to_path` lets this worker import what the environment `vllm` has; packages
# of Spark's own Python come first.
#
# Spark gives a task any worker that is idle, and each loads the model at its first task. So the other rows are asked until
# they have met no worker without a model, eight times at most.

# %%
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql.types import StringType, StructField, StructType
from server_utils import local_model


def load():
    import os
    import socket

    from server_utils.environments.builder import add_to_path

    add_to_path("vllm")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // tasks))  # the tasks share the cores, as servers do
    device = "cuda" if torch.cuda.is_available() else "cpu"
    has_bfloat16 = device == "cuda" and torch.cuda.get_device_capability()[0] >= 8  # a T4 has not
    kind = precision.get("dtype", "bfloat16" if has_bfloat16 else "float16")  # as vLLM chooses
    path = str(local_model(url))
    tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(path).eval().to(device, getattr(torch, kind))

    def answer(questions):
        chats = [[{"role": "user", "content": each}] for each in questions]
        options = {"add_generation_prompt": True, "padding": True, "return_tensors": "pt", "return_dict": True}
        batch = tokenizer.apply_chat_template(chats, **options).to(device)
        with torch.inference_mode():
            made = model.generate(**batch, max_new_tokens=words, do_sample=False, pad_token_id=tokenizer.pad_token_id)
        texts = tokenizer.batch_decode(made[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        worker = f"{socket.gethostname()} {os.getpid()}"
        return [{"text": text, "worker": worker} for text in texts]

    return answer


answered = StructType([StructField("text", StringType()), StructField("worker", StringType())])
in_process = predict_batch_udf(load, return_type=answered, batch_size=8)


def workers(name):
    return {row.worker for row in spark.read.parquet(data_url(name)).select("title.worker").distinct().collect()}


began, loaded = time.monotonic(), set()
for _ in range(8):
    timed("warming", asked.where("warms"), in_process("question"))
    met = workers("warming")
    if met <= loaded:
        break
    loaded |= met
warm_workers = len(loaded)
until_warm["in process"] = time.monotonic() - began
seconds["in process"] = timed("process-titles", reviews, in_process("question"))
loaded |= workers("process-titles")

# %% [markdown]
# ## What came out
#
# Both choose the most likely word each time. They compute in another order, so that now and then another word wins.

# %%
server = spark.read.parquet(data_url("server-titles")).withColumnRenamed("title", "server")
process = spark.read.parquet(data_url("process-titles")).selectExpr("id", "title.text as process")
table = server.join(process, "id").orderBy("id").toPandas()
notebook.show(table.head(6), ["text", "server", "process"])

# %%
import matplotlib.pyplot as plt

ways = ["in a server", "in process"]
copies = [copies_of_servers, len(loaded)]
speeds = [len(table) / seconds[way] for way in ways]
figure, area = plt.subplots(figsize=(5.2, 2.6))
area.bar_label(area.bar(ways, speeds, color=["#1a73e8", "#9aa0a6"], width=0.6), [f"{speed:.1f}" for speed in speeds])
area.set_ylim(0, 1.2 * max(speeds))
area.set_title("rows per second, once warm")
area.set_yticks([])
area.spines["left"].set_visible(False)
plt.show()

# %%
same = float(sum(row.server.split()[:2] == row.process.split()[:2] for row in table.itertuples()) / len(table))
notebook.show(
    [
        {"way": way, "until warm, s": until_warm[way], "rows/s, warm": len(table) / seconds[way], "copies": count}
        for way, count in zip(ways, copies)
    ]
)
print(f"{same:.0%} of {len(table)} titles begin alike both ways")
print(f"in process {warm_workers} workers had loaded the model before the timed rows, and {copies[1]} after them")
assert len(table) == reviews.count()
assert (table.process.str.len() > 0).all()
assert same > 0.4

# %% [markdown]
# The servers came first. So their time until warm includes the copy of the model from its store to each host, which the
# other way found there.
#
# ## Which way?
#
# | | in process | in a server |
# |---|---|---|
# | copies of the model | one per task that runs at once | one per executor |
# | the batch | rows of one task, padded, until its longest answer is done | rows of all tasks, each leaves when it is done |
# | prompts that begin alike | computed for each row | computed once: the prefix cache |
# | what Spark's Python needs | torch and `transformers` | nothing |
# | until the first answer | the model's load, in each worker | the server's start, once |
