# %% [markdown]
# # Summarize documents
#
# An archive needs a few words about each document. A language model writes them. For these documents people have written
# such words too, so there is something to compare with: a summary should share more words with what was written of its own
# document than with what was written of others.
#
# **When to use this:** tickets, reports, meeting notes: long texts that somebody has to look through.

# %%
from server_utils import open_notebook

spark, notebook = open_notebook("summarization")

# %% [markdown]
# ## Documents
#
# At small scale READMEs of Python packages, cut to their beginning: the small server has room for 1,024 tokens. At full
# scale whole articles of news. Both have a summary by their authors.

# %%
from pyspark.sql import functions as F

documents = notebook.table("documents", rows=notebook.pick(small=16, full=None))
most = notebook.pick(small=900, full=24_000)  # characters; 24,000 are some 6,000 tokens
documents = documents.withColumn("text", F.substring("text", 1, most)).cache()
notebook.show(documents.orderBy("name").limit(3))

# %% [markdown]
# ## Ask for a summary
#
# `chat` puts the template of the model round each conversation. A document that is too long for the model would be an
# error of its row alone. At full scale two models write, one after the other: Qwen2.5-7B, for which there are published
# numbers, and a current one. The newer one thinks before it answers unless it is told not to, and can look at pictures:
# what it needs for them is left out.

# %%
import time

from server_utils import VLLMServerManager, data_url

question = notebook.pick(
    small="What is this Python package for? Answer in one short sentence.\n\n",
    full="Summarize this article in three short sentences.\n\n",
)
asked = documents.withColumn("question", F.concat(F.lit(question), "text"))
seconds = {}

for name in notebook.models:
    with VLLMServerManager("writer", notebook.model(name)) as servers:
        servers.start_servers(**notebook.engine_options(max_model_len=8192, language_model_only=True))
        summary = servers.chat(
            "question",
            max_tokens=notebook.pick(small=48, full=160),
            temperature=0,
            chat_template_kwargs={"enable_thinking": False},
            on_error="struct",
            details=True,
        )
        began = time.monotonic()
        written = asked.withColumn("answer", summary).drop("question", "text")
        written.write.mode("overwrite").parquet(data_url(f"summaries/model={name}"))
        seconds[name] = time.monotonic() - began

summaries = spark.read.parquet(data_url("summaries"))
summaries = summaries.where(F.col("model").isin([*notebook.models]))  # other models of another run may be there

# %%
read = summaries.select("model", "name", "summary", "answer.*").orderBy("name", "model").cache()
read.printSchema()
notebook.show(read.limit(8), ["name", "value", "summary"])

# %% [markdown]
# ## Do they say what the authors say?
#
# The measure is the share of the author's words that the model's summary has, without the commonest words. The blue dot is
# the share for the author of the same document. The grey dot is the mean over the authors of up to 15 other documents.

# %%
import re

import matplotlib.pyplot as plt
import numpy as np

COMMON = set(
    "a an and any are as at be by can for from has have he his in into is it its library of on or package python said she "
    "that the this to used using was were which with your".split()
)


def words(text):
    return {word for word in re.findall(r"[a-z]{2,}", (text or "").lower()) if word not in COMMON}


def shares(table, further):
    """Of each row: the share of the author's words that the model's summary has; of the author so many rows further."""
    authors = np.roll(table.summary.map(words), -further)
    return np.array([len(ours & author) / max(len(author), 1) for ours, author in zip(table.value.map(words), authors)])


tables = dict(list(read.toPandas().groupby("model")))
figure, axes = plt.subplots(1, len(tables), figsize=(7.2 * len(tables), 3.6), squeeze=False)
scores = {}
for plot, (name, table) in zip(axes.flat, tables.items(), strict=True):
    own = shares(table, 0)
    others = np.mean([shares(table, further) for further in range(1, min(16, len(table)))], axis=0)
    scores[name] = float(own.mean()), float(others.mean())
    order = np.argsort(-own)
    plot.scatter(range(len(own)), others[order], s=14, color="#9aa0a6", label="authors of other documents")
    plot.scatter(range(len(own)), own[order], s=14, color="#1a73e8", label="its own author")
    plot.set_title(f"{name}: share of the author's words")
    plot.set_xlabel("summaries, the best first")
    plot.set_xticks([])
    plot.legend(frameon=False, fontsize=8)
plt.show()

# %%
PRICE_PER_HOUR = 1.0  # of the whole cluster, in your currency: put yours in
for name, table in tables.items():
    own, others = scores[name]
    tokens = int(table.completion_tokens.sum())
    print(
        f"{name}: a summary has {own:.0%} of the words of its own author and {others:.0%} of another one's; "
        f"{tokens / seconds[name]:,.0f} tokens/s written"
    )
    notebook.show_speed(len(table), seconds[name], price_per_hour=PRICE_PER_HOUR)
    assert own > 3 * others
assert read.count() == len(notebook.models) * documents.count()
assert read.where("error is not null").isEmpty()
