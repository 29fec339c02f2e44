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
# Short reviews, each of which is to get a title. A few others are asked first, so that both ways are timed once they are
# warm.

# %%
from pyspark.sql import functions as F

task = "Write a title of at most five words for this review.\n\n"
asked = notebook.table("reviews", rows=notebook.pick(small=400, full=None))
asked = asked.where("length(text) between 60 and 120").dropDuplicates(["id"]).select("id", "text")
asked = asked.withColumn("question", F.concat(F.lit(task), "text"))
reviews = asked.orderBy("id").limit(notebook.pick(small=16, full=2000))
others = asked.orderBy(F.desc("id")).limit(notebook.pick(small=4, full=64))
notebook.show(reviews.orderBy("id").limit(3), ["id", "text"])

# %% [markdown]
# ## In a server
#
# All tasks of an executor share its server, which puts their rows into one batch and takes a new row as soon as one is
# done. Both ways compute in the same precision.

# %%
import time

from server_utils import VLLMServerManager, data_url

words = notebook.pick(small=12, full=24)  # tokens of an answer, at most
precision = notebook.pick(small={"dtype": "float32"}, full={})  # at full scale vLLM takes what the GPU computes


def timed(name, rows, column):
    """Write the answers, and say how long it took."""
    began = time.monotonic()
    rows.withColumn("title", column).drop("question").write.mode("overwrite").parquet(data_url(name))
    return time.monotonic() - began


until_warm, seconds, url = {}, {}, notebook.model()
with VLLMServerManager("titles", url) as servers:
    began = time.monotonic()
    servers.start_servers(**notebook.engine_options(max_model_len=2048), **precision)
    copies_of_servers = len(servers.urls)
    # In process each task loads a copy, and all those of an executor may run on one GPU.
    tasks = notebook.pick(small=2, full=4 * copies_of_servers)
    reviews, others = reviews.repartition(tasks).cache(), others.repartition(tasks).cache()
    reviews.count(), others.count()  # the rows wait in memory
    title = servers.chat("question", max_tokens=words, temperature=0)
    timed("server-warms", others, title)
    until_warm["in a server"] = time.monotonic() - began
    seconds["in a server"] = timed("server-titles", reviews, title)

# %% [markdown]
# ## In process
#
# The same model by `transformers`, which pads a batch to its longest row and waits for the longest answer. Each worker of
# Spark loads it at its first task. Spark's Python does not have `transformers` everywhere: `add_to_path` lets a worker
# import what the environment `vllm` has; packages of Spark's own Python come first.

# %%
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql.types import StringType, StructField, StructType
from server_utils import add_to_path, local_model


def load():
    import os
    import socket

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


began = time.monotonic()
timed("process-warms", others, in_process("question"))
until_warm["in process"] = time.monotonic() - began
seconds["in process"] = timed("process-titles", reviews, in_process("question"))

# %% [markdown]
# ## What came out
#
# Both choose the most likely word each time. They compute in another order, so that now and then another word wins.

# %%
server = spark.read.parquet(data_url("server-titles")).withColumnRenamed("title", "server")
process = spark.read.parquet(data_url("process-titles")).selectExpr("id", "title.text as process", "title.worker")
table = server.join(process, "id").orderBy("id").toPandas()
notebook.show(table.head(6), ["text", "server", "process"])

# %%
import matplotlib.pyplot as plt

ways = ["in a server", "in process"]
copies = [copies_of_servers, table.worker.nunique()]
speeds = [len(table) / seconds[way] for way in ways]
figure, area = plt.subplots(figsize=(5.2, 2.6))
area.bar_label(area.bar(ways, speeds, color=["#1a73e8", "#9aa0a6"], width=0.6), [f"{speed:.1f}" for speed in speeds])
area.set_ylim(0, 1.2 * max(speeds))
area.set_title("rows per second, once warm")
area.set_yticks([])
area.spines["left"].set_visible(False)
plt.show()

# %%
PRICE_PER_HOUR = 1.0  # of the whole cluster, in your currency: put yours in
same = float(sum(row.server.split()[:2] == row.process.split()[:2] for row in table.itertuples()) / len(table))
notebook.show(
    [
        {
            "way": way,
            "copies": count,
            "until warm, s": until_warm[way],
            "rows/s, warm": speed,
            "cost per million rows": 1e6 / speed / 3600 * PRICE_PER_HOUR,
        }
        for way, count, speed in zip(ways, copies, speeds)
    ]
)
print(f"{same:.0%} of {len(table)} titles begin alike both ways")
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
