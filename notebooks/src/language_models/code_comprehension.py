# %% [markdown]
# # Say what code does, and find it again
#
# Old code has few comments, and whoever looks for a function does not know its name. A language model reads every
# function and writes a sentence about it. The sentences are an index: a search in plain words finds the function.
#
# **When to use this:** undocumented repositories, SQL of a warehouse, jobs of a scheduler; before a migration.

# %%
from server_utils import open_notebook

spark, notebook = open_notebook("code_comprehension")

# %% [markdown]
# ## Functions
#
# From Python's standard library, without their docstrings. The first paragraph of each docstring is kept apart: it says
# in its author's words what the function does, and the model does not see it.

# %%
functions = notebook.table("python_functions", rows=notebook.pick(small=20, full=None)).cache()
notebook.show(functions.orderBy("module", "name").limit(3), ["module", "name", "code", "summary"])

# %% [markdown]
# ## A sentence for each

# %%
import time

from pyspark.sql import functions as F
from server_utils import VLLMServerManager, data_url

task = "What does this Python function do? Answer in one short sentence.\n\n```python\n"
question = F.concat(F.lit(task), "code", F.lit("\n```"))

with VLLMServerManager("reader", notebook.model()) as servers:
    servers.start_servers(**notebook.engine_options(max_model_len=4096))
    sentence = servers.chat(question, max_tokens=notebook.pick(small=32, full=64), temperature=0)
    began = time.monotonic()
    functions.withColumn("sentence", sentence).write.mode("overwrite").parquet(data_url("functions"))
    seconds = time.monotonic() - began

table = spark.read.parquet(data_url("functions")).orderBy("module", "name").toPandas()
notebook.show(table.head(6), ["module", "name", "sentence"])

# %% [markdown]
# ## Search for them
#
# The authors' sentences are what people might look for. A search compares words: two texts are
# alike when they share many of their words. The place of a function is its place in the list of hits; one that shares no
# word stands behind all others.

# %%
import re

import numpy as np

COMMON = set(
    "a an and any are as at be by can does for from function given in into is it its of on or python return returns that "
    "the this to used using which with your".split()
)


def words(text):
    return {word for word in re.findall(r"[a-z]{2,}", text.lower()) if word not in COMMON}


def likeness(asked, written):
    common = len(words(asked) & words(written))
    return common / max(len(words(asked)) * len(words(written)), 1) ** 0.5


scores = np.array([[likeness(asked, written) for written in table.sentence] for asked in table.summary])
own = np.diag(scores)
places = (scores >= own[:, None]).sum(axis=1)

# %%
best = scores.argmax(axis=1)
notebook.show(
    [
        {"looking for": row.summary, "found": f"{table.module[hit]}.{table.name[hit]}", "because": table.sentence[hit]}
        for row, hit in zip(table.head(6).itertuples(), best)
    ]
)

# %%
import matplotlib.pyplot as plt

count = len(table)
looked = np.arange(1, 6)
plt.plot(looked, [(places <= each).mean() for each in looked], marker="o", color="#1a73e8")
plt.plot(looked, looked / count, color="#9aa0a6", linestyle="--")
plt.text(looked[-1], looked[-1] / count + 0.03, "by chance", color="#5f6368", ha="right", va="bottom")
plt.ylim(0, 1.05)
plt.xticks(looked)
plt.xlabel("hits that are looked at")
plt.title(f"share of {count} functions that are found")
plt.show()

# %%
first = float((places == 1).mean())
notebook.show_speed(count, seconds, price_per_hour=1.0)
print(
    f"{first:.0%} of {count} functions are the first hit for their author's words; by chance it would be {1 / count:.0%}"
)
assert count == functions.count()
assert table.sentence.str.len().min() > 0
assert first > 0.2
assert first > 3 / count
