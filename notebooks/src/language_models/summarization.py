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
# error of its row alone; here they were cut to their beginning. At full scale two models write, one after the other:
# Qwen2.5-7B, for which there are published numbers, and a current one. The newer one thinks before it answers unless it
# is told not to, and can look at pictures: what it needs for them is left out.

# %%
import time

from pyspark.sql import functions as F
from server_utils import VLLMServerManager, data_url

question = "What is this Python package for? Answer in one short sentence.\n\n"
asked = readmes.withColumn("question", F.concat(F.lit(question), "text"))
seconds = {}

for name in notebook.models:
    with VLLMServerManager("writer", notebook.model(name)) as servers:
        servers.start_servers(**notebook.engine_options(max_model_len=8192, language_model_only=True))
        line = servers.chat(
            "question",
            max_tokens=48,
            temperature=0,
            chat_template_kwargs={"enable_thinking": False},
            on_error="struct",
            details=True,
        )
        began = time.monotonic()
        written = asked.withColumn("answer", line).drop("question")
        written.write.mode("overwrite").parquet(data_url(f"summaries/model={name}"))
        seconds[name] = time.monotonic() - began

summaries = spark.read.parquet(data_url("summaries"))

# %%
read = summaries.select("model", "name", "summary", "answer.*").orderBy("name", "model").cache()
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


def shared_words(table):
    return np.array(
        [
            [len(words(line) & words(author)) / max(len(words(author)), 1) for author in table.summary]
            for line in table.value
        ]
    )


tables = dict(list(read.toPandas().groupby("model")))
shares = {name: shared_words(table) for name, table in tables.items()}
figure, axes = plt.subplots(1, len(shares), figsize=(5.2 * len(shares), 4.4), squeeze=False)
for plot, (name, shared) in zip(axes.flat, shares.items(), strict=True):
    image = plot.imshow(shared, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=plot, label="share of the author's words")
    plot.set_title(name)
    plot.set_xlabel("author's line of each package")
    plot.set_ylabel("written line of each package")
    plot.set_xticks([])
    plot.set_yticks([])
plt.show()

# %%
for name, table in tables.items():
    own = float(np.diag(shares[name]).mean())
    others = float(shares[name][~np.eye(len(table), dtype=bool)].mean())
    tokens = int(table.completion_tokens.sum())
    print(
        f"{name}: a line has {own:.0%} of the words of its own author and {others:.0%} of another one's; "
        f"{tokens / seconds[name]:,.0f} tokens/s written"
    )
    notebook.show_speed(len(table), seconds[name], price_per_hour=1.0)
    assert own > 3 * others
assert read.count() == len(notebook.models) * readmes.count()
assert read.where("error is not null").isEmpty()
