# %% [markdown]
# # Summarize documents
#
# A catalogue needs one line for each package, and all there is are READMEs. A language model writes the lines. The
# authors have written such lines too, so there is something to compare with: a summary should share more words with the
# line of its own package than with those of others.
#
# **When to use this:** tickets, reports, meeting notes: long texts that somebody has to look through.

# %%
from server_utils import open_notebook

spark, notebook = open_notebook("summarization")

# %%
readmes = notebook.table("package_readmes", rows=notebook.pick(small=16, full=100_000)).cache()
notebook.show(readmes.orderBy("name").limit(3))

# %% [markdown]
# ## Ask for one line
#
# `chat` puts the template of the model round each conversation. A document that is too long for the model would be an
# error of its row alone; here they were cut to their beginning.

# %%
import time

from pyspark.sql import functions as F
from server_utils import VLLMServerManager, data_url

question = "What is this Python package for? Answer in one short sentence.\n\n"
asked = readmes.withColumn("question", F.concat(F.lit(question), "text"))

with VLLMServerManager("writer", notebook.model()) as servers:
    servers.start_servers(**notebook.engine_options(max_model_len=8192))
    line = servers.chat("question", max_tokens=48, temperature=0, on_error="struct", details=True)
    began = time.monotonic()
    asked.withColumn("answer", line).drop("question").write.mode("overwrite").parquet(data_url("summaries"))
    seconds = time.monotonic() - began

summaries = spark.read.parquet(data_url("summaries"))

# %%
read = summaries.select("name", "summary", "answer.*").orderBy("name").cache()
read.printSchema()
notebook.show(read.limit(8), ["name", "value", "summary"])

# %% [markdown]
# ## Do they say what the authors say?
#
# Each written line is compared with the authors' lines of all packages: the share of the author's words of content that
# it has. On the diagonal are the lines of the same package.

# %%
import re

import matplotlib.pyplot as plt
import numpy as np

COMMON = set(
    "a an and any are as at by can for from in into is it its library of on or package python that the this to used using which with your".split()
)


def words(text):
    return {word for word in re.findall(r"[a-z]{2,}", (text or "").lower()) if word not in COMMON}


table = read.toPandas()
shared = np.array(
    [
        [len(words(line) & words(author)) / max(len(words(author)), 1) for author in table.summary]
        for line in table.value
    ]
)
plt.figure(figsize=(5.2, 4.4))
plt.imshow(shared, cmap="Blues", vmin=0, vmax=1)
plt.colorbar(label="share of the author's words")
plt.xlabel("author's line of each package")
plt.ylabel("written line of each package")
plt.xticks([])
plt.yticks([])
plt.show()

# %%
own = float(np.diag(shared).mean())
others = float(shared[~np.eye(len(shared), dtype=bool)].mean())
tokens = int(table.completion_tokens.sum())
notebook.show_speed(len(table), seconds, price_per_hour=1.0)
print(
    f"a line has {own:.0%} of the words of its own author and {others:.0%} of another one's; {tokens / seconds:,.0f} tokens/s written"
)
assert len(table) == readmes.count()
assert table.error.isna().all()
assert own > 3 * others
