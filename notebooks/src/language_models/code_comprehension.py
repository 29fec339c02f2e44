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
# At small scale from Python's standard library, without their docstrings; at full scale the answers of MBPP, a collection
# of small tasks. Of each function a person has said what it does: the first paragraph of its docstring, or the task. The
# model does not see it.

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
# The people's sentences are what others might look for. A search compares words: two texts are alike when they share many
# of their words. The rank of a function is its place in the list of hits. A function that shares no word comes last.

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
    return len(asked & written) / max(len(asked) * len(written), 1) ** 0.5


sentences, summaries = table.sentence.map(words), table.summary.map(words)
scores = np.array([[likeness(asked, written) for written in sentences] for asked in summaries])
own = np.diag(scores)
ranks = (scores >= own[:, None]).sum(axis=1)

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
plt.plot(looked, [(ranks <= each).mean() for each in looked], marker="o", color="#1a73e8")
plt.plot(looked, looked / count, color="#9aa0a6", linestyle="--")
plt.text(looked[-1], looked[-1] / count + 0.03, "by chance", color="#5f6368", ha="right", va="bottom")
plt.ylim(0, 1.05)
plt.xticks(looked)
plt.xlabel("hits that are looked at")
plt.title(f"share of {count} functions that are found")
plt.show()

# %%
PRICE_PER_HOUR = 1.0  # of the whole cluster, in your currency: put yours in
first = float((ranks == 1).mean())
notebook.show_speed(count, seconds, price_per_hour=PRICE_PER_HOUR)
print(f"{first:.0%} of {count} functions are the first hit for a person's words; by chance it would be {1 / count:.1%}")
assert count == functions.count()
assert (table.sentence.str.len() > 0).all()  # so none is null
assert first > notebook.pick(small=0.2, full=0.1)  # among many functions, more are alike
