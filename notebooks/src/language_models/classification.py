# %% [markdown]
# # Classify texts with a language model that may give no other answer
#
# A language model labels texts from a few examples in its prompt: no training. The server is told which answers there
# are, and can give no other one: nothing is left to parse.
#
# **When to use this:** routing tickets, moderating comments, tagging products; wherever labels change faster than a
# classifier is trained. With thousands of labels, [sentiment from a few hundred labels](../text/sentiment.ipynb) is cheaper per row.

# %%
from server_utils import open_notebook

spark, notebook = open_notebook("classification")

# %% [markdown]
# ## The task
#
# Reviews with a clear opinion: a mean score of at least 1, or at most -1. Whether it is positive is the label to compare
# with; the model does not see it.

# %%
from pyspark.sql import functions as F

reviews = (
    notebook.table("reviews", rows=notebook.pick(small=2000, full=None))
    .where("abs(score) >= 1")
    .withColumn("human", F.expr("if(score > 0, 'positive', 'negative')"))
)
short = reviews.where("length(text) < 120 and abs(score) >= 2.5")
examples = [
    row
    for human in ("positive", "negative")
    for row in short.where(F.col("human") == human).orderBy("id").limit(6).collect()
]
rest = reviews.where(~F.col("id").isin([row.id for row in examples]))
half = notebook.pick(small=40, full=20_000)
sample = (
    rest.where("human = 'positive'")
    .orderBy(F.xxhash64("id"))
    .limit(half)
    .union(rest.where("human = 'negative'").orderBy(F.xxhash64("id")).limit(half))
)
sample = notebook.spread(sample).cache()

alternating = [row for pair in zip(examples[:6], examples[6:]) for row in pair]
shown = "".join(f"Review: {row.text}\nSentiment: {row.human}\n\n" for row in alternating)
before = f"Decide whether each review is positive or negative.\n\n{shown}Review: "
print(before[-400:])

# %% [markdown]
# ## The servers, and one column
#
# `structured_outputs={"choice": …}` holds the engine to the two words. All prompts begin alike, so the engine computes
# that part once: its prefix cache.

# %%
import time

from server_utils import VLLMServerManager, data_url

prompts = sample.withColumn("prompt", F.concat(F.lit(before), "text", F.lit("\nSentiment:")))

with VLLMServerManager("classifier", notebook.model()) as servers:
    servers.start_servers(**notebook.engine_options(max_model_len=4096))
    answer = servers.generate(
        "prompt", max_tokens=4, temperature=0, structured_outputs={"choice": [" positive", " negative"]}
    )
    began = time.monotonic()
    prompts.withColumn("model", F.trim(answer)).drop("prompt").write.mode("overwrite").parquet(data_url("opinions"))
    seconds = time.monotonic() - began

opinions = spark.read.parquet(data_url("opinions"))

# %%
import matplotlib.pyplot as plt
import pandas as pd

table = opinions.toPandas()
counts = pd.crosstab(table.human, table.model)
figure, area = plt.subplots(figsize=(4.2, 3.4))
area.imshow(counts, cmap="Blues")
for (row, column), count in (
    (place, counts.iloc[place]) for place in ((0, 0), (0, 1), (1, 0), (1, 1)) if place[1] < counts.shape[1]
):
    area.text(
        column, row, count, ha="center", va="center", color="white" if count > counts.to_numpy().max() / 2 else "black"
    )
area.set_xticks(range(counts.shape[1]), counts.columns)
area.set_yticks(range(len(counts)), counts.index)
area.set(xlabel="the model says", ylabel="people say", title="number of reviews")
plt.show()

# %%
right = table.human == table.model
clearest = table.reindex(table.score.abs().sort_values(ascending=False).index)
notebook.show(
    pd.concat([clearest[clearest.human == clearest.model].head(2), clearest[clearest.human != clearest.model].head(2)]),
    ["human", "model", "score", "text"],
)

# %%
PRICE_PER_HOUR = 1.0  # of the whole cluster, in your currency: put yours in
accuracy = float(right.mean())
notebook.show_speed(len(table), seconds, price_per_hour=PRICE_PER_HOUR)
print(f"the model agrees with people on {accuracy:.0%} of {len(table)} reviews; guessing would reach 50%")
assert len(table) == sample.count()
assert set(table.model) <= {"positive", "negative"}
assert accuracy > 0.65
