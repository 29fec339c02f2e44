# %% [markdown]
# # Free text into typed columns
#
# Copyright notices are written in every way there is. A language model reads who holds the right and since when, into
# a column of strings and a column of numbers. The server can give only answers of that type, so each answer has
# both columns.
#
# **When to use this:** invoices, CVs, contracts, product data: facts that people wrote as they liked, wanted as columns.
# And for a model that one GPU does not hold: the full one has 27.5 GiB, and a server spreads it over several.

# %%
from server_utils import open_notebook

spark, notebook = open_notebook("structured_extraction")

# %% [markdown]
# ## The texts
#
# Short notices from the licences of the Python packages that are installed here: some with one year and some with several,
# up to 18 of each, at full scale up to 1,000. The smallest year is the one since when the right is held: this is how the
# answers are checked. For a table of yours, read `spark.read.parquet(data_url("name"))`, with a text in the column `notice`.

# %%
from pyspark.sql import functions as F

notices = notebook.table("copyright_notices").where("length(notice) < 100")
years = F.transform(F.regexp_extract_all("notice", F.lit(r"\b([0-9]{4})\b")), lambda year: year.cast("int"))
notices = notices.withColumn("year", F.array_min(years)).withColumn("has_several", F.size(years) > 1)
most = notebook.pick(small=18, full=1000)
several, one = (notices.where(which).orderBy(F.xxhash64("notice")) for which in ("has_several", "not has_several"))
notices = notebook.spread(several.limit(most).union(one.limit(most))).cache()
notebook.show(notices.orderBy("has_several", "notice").limit(3))

# %% [markdown]
# ## A type for the answers
#
# Any Spark type will do, or a pydantic model. Examples in the conversation show a small model what is meant.

# %%
from pyspark.sql.types import IntegerType, StringType, StructField, StructType

Notice = StructType([StructField("holder", StringType()), StructField("since", IntegerType())])

task = "Who holds the copyright, and since which year? Answer as JSON."
examples = [
    (
        "Copyright (c) 1998 Example Software, Inc. All rights reserved.",
        '{"holder": "Example Software, Inc.", "since": 1998}',
    ),
    ("Copyright 2016 Jane Roe", '{"holder": "Jane Roe", "since": 2016}'),
    (
        "(C) Copyright 2007-2011 by the Widget Project developers.",
        '{"holder": "the Widget Project developers", "since": 2007}',
    ),
    ("Copyright 1999, 2003-2012 Example University", '{"holder": "Example University", "since": 1999}'),
]


def message(role, content):
    return F.struct(F.lit(role).alias("role"), content.alias("content"))


shots = [message(role, F.lit(text)) for pair in examples for role, text in zip(("user", "assistant"), pair)]
messages = F.array(message("system", F.lit(task)), *shots, message("user", F.col("notice")))

# %% [markdown]
# ## A server over several GPUs
#
# Each GPU of a server holds an equal part of every layer, and all of them compute each token together: tensor parallel.
# `tensor_parallel_size` is the number of GPUs of the server unless you say otherwise, so nothing is said here. What that
# means for 27.5 GiB of weights on GPUs of 24 GiB: the driver keeps a part of each, and the engine leaves a tenth free, so it
# has about 20.2 GiB. Of these, 2.5 GiB are head room for CUDA and for what a layer computes.
#
# | GPUs of a server | weights on each | head room | left on each for the cache |
# |---|---|---|---|
# | 1 | 27.5 GiB | 2 GiB | it does not fit |
# | 2 | 13.8 GiB | 2.5 GiB | about 4 GiB |
# | 4 | 6.9 GiB | 2.5 GiB | about 11 GiB |
#
# GPUs wait for each other at every layer. Where an executor has more GPUs than the model needs, servers that share nothing
# answer more rows: with eight GPUs `replicas=4` makes four servers of two. `spark-sidecar fit` names the smallest number
# that holds a model.

# %%
import time

from server_utils import VLLMServerManager, data_url

with VLLMServerManager("reader", notebook.model()) as servers:
    servers.start_servers(**notebook.engine_options(max_model_len=2048, replicas=1))
    facts = servers.chat(messages, response_format=Notice, max_tokens=60, temperature=0, on_error="null")
    began = time.monotonic()
    notices.withColumn("read", facts).write.mode("overwrite").parquet(data_url("notices"))
    seconds = time.monotonic() - began
    status = servers.status()

notebook.show(
    [
        {
            "server": number,
            "GPUs": notebook.gpus or "none",
            "ready after, s": each.ready_s,
            "tokens read": int(each.metrics.get("tokens_in", 0)),
            "tokens written": int(each.metrics.get("tokens_out", 0)),
        }
        for number, each in enumerate(status, 1)
    ]
)

# %%
read = spark.read.parquet(data_url("notices")).select("package", "notice", "year", "has_several", "read.*")
read.printSchema()

# %% [markdown]
# ## What came out
#
# A table like any other now: some of its rows, and the years in which rights begin.

# %%
notebook.show(read.orderBy(F.xxhash64("notice")).limit(8).select("notice", "holder", "since"))

# %%
import matplotlib.pyplot as plt

table = read.toPandas()
periods = (table.since.dropna() // 5 * 5).astype(int).value_counts().sort_index()
plt.bar(periods.index, periods, width=4, align="edge", color="#1a73e8")
plt.title("copyright notices by the five years in which they begin, as the model read them")
plt.show()

# %%
PRICE_PER_HOUR = 1.0  # of the whole cluster, in your currency: put yours in
right = float((table.since == table.year).mean())
of_several = float((table.since == table.year)[table.has_several].mean())
holders = [(row.holder or "").strip(" .,").lower() for row in table.itertuples()]
named = sum(holder != "" and holder in notice.lower() for holder, notice in zip(holders, table.notice)) / len(table)
notebook.show_speed(len(table), seconds, price_per_hour=PRICE_PER_HOUR)
print(
    f"the year is right in {right:.0%} of {len(table)} notices, of those with several years in {of_several:.0%}; "
    f"{named:.0%} of the holders appear word for word in the text"
)
assert len(table) == notices.count()
assert right > 0.8
assert of_several > 0.6
assert named > 0.4
