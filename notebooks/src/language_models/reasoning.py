# %% [markdown]
# # Reasoning, apart from the answer
#
# A reasoning model writes down its thoughts before it answers: `<think>…</think>`, then the answer. The thoughts make
# the answer better and are rarely wanted in a table of results. Here they become a column of their own, and the
# notebook measures what they gain and what they cost.
#
# **When to use this:** checks of totals, of contracts, of plans: questions with several steps, where a model that
# answers at once guesses. For one-step questions, [classification](classification.ipynb) is cheaper by far.

# %%
from server_utils import open_notebook

spark, notebook = open_notebook("reasoning")

# %% [markdown]
# ## Questions with a known answer
#
# At small scale sums of three numbers. At full scale problems in words, each with a solution that a person wrote: GSM8K.
# Six of them are examples; the model is asked the others.

# %%
from pyspark.sql import functions as F

table = notebook.table("sums", rows=notebook.pick(small=30, full=None)).cache()
examples = table.orderBy("id").limit(6).collect()
questions = table.where(~F.col("id").isin([example.id for example in examples])).cache()
notebook.show(questions.orderBy("id").limit(3))

# %% [markdown]
# ## Two ways to ask
#
# **At once**: examples show questions and answers, and the model continues with an answer.
#
# **With thoughts**: a reasoning model thinks by itself. The small model has not learned that, so a few conversations
# show it how.


# %%
def message(role, content):
    return F.struct(F.lit(role).alias("role"), content.alias("content"))


at_once = "".join(f"Q: {example.question}\nA: {example.total}\n\n" for example in examples)
prompt = F.concat(F.lit(f"{at_once}Q: "), "question", F.lit("\nA:"))

shown = [
    message(role, F.lit(text))
    for example in examples
    for role, text in (
        ("user", example.question),
        ("assistant", f"<think>{example.thoughts}</think>\n{example.total}"),
    )
]
conversation = F.array(*notebook.pick(small=shown, full=[]), message("user", F.col("question")))

# %% [markdown]
# ## Both columns, from the same servers
#
# `details=True` adds the number of tokens of each answer. A model needs room to think: thoughts that are cut short have
# no answer.

# %%
import time

from server_utils import VLLMServerManager, data_url

room = notebook.pick(small=40, full=4096)
with VLLMServerManager("thinker", notebook.model()) as servers:
    servers.start_servers(**notebook.engine_options(max_model_len=8192))
    short = servers.generate(prompt, max_tokens=8, temperature=0, stop=["\n"], details=True)
    # The authors of the full model advise against temperature 0.
    long = servers.chat(conversation, max_tokens=room, temperature=notebook.pick(small=0, full=0.6), details=True)
    questions.withColumn("short", short).write.mode("overwrite").parquet(data_url("at-once"))
    began = time.monotonic()
    questions.withColumn("long", long).write.mode("overwrite").parquet(data_url("with-thoughts"))
    seconds = time.monotonic() - began

# %% [markdown]
# ## Thoughts and answers in columns of their own
#
# The text before `</think>` are the thoughts, and the text after it is the answer. Without that mark there is no answer. The
# last number of the answer counts.

# %%


def number_of(text):
    """The last number in a text; null where there is none. LaTeX writes 70{,}000 or 70,\\!000 for 70,000."""
    plain = F.regexp_replace(text, r"(?<=[0-9])[{},\\!]+(?=[0-9]{3})", "")
    numbers = F.regexp_extract_all(plain, F.lit(r"(-?[0-9]+(?:\.[0-9]+)?)"))
    return F.try_element_at(numbers, F.lit(-1)).cast("double")


parts = F.split(F.regexp_replace("long.value", "<think>", ""), "</think>")
read = spark.read.parquet(data_url("with-thoughts")).select(
    "id",
    "question",
    "total",
    F.trim(F.get(parts, F.lit(0))).alias("thoughts"),
    number_of(F.get(parts, F.lit(1))).alias("answer"),
    F.col("long.completion_tokens").alias("tokens"),
)
guesses = spark.read.parquet(data_url("at-once")).select(
    "id", number_of(F.col("short.value")).alias("guess"), F.col("short.completion_tokens").alias("guess_tokens")
)
table = read.join(guesses, "id").orderBy("id").toPandas()
notebook.show(table.head(6), ["question", "total", "guess", "thoughts", "answer"])

# %%
import matplotlib.pyplot as plt

ways = ["at once", "with thoughts"]
right = [float((table.guess == table.total).mean()), float((table.answer == table.total).mean())]
tokens = [float(table.guess_tokens.mean()), float(table.tokens.mean())]
figure, areas = plt.subplots(1, 2, figsize=(7.2, 2.6))
for area, values, title in zip(areas, (right, tokens), ("share of right answers", "tokens per answer")):
    bars = area.bar(ways, values, color=["#9aa0a6", "#1a73e8"], width=0.6)
    area.bar_label(bars, [f"{value:.0%}" if area is areas[0] else f"{value:.0f}" for value in values])
    area.set_ylim(0, 1.2 * max(values))
    area.set_title(title)
    area.set_yticks([])
    area.spines["left"].set_visible(False)
plt.show()

# %%
PRICE_PER_HOUR = 1.0  # of the whole cluster, in your currency: put yours in
notebook.show_speed(len(table), seconds, price_per_hour=PRICE_PER_HOUR)
print(
    f"with thoughts {right[1]:.0%} of {len(table)} answers are right, at once {right[0]:.0%}; "
    f"thoughts cost {tokens[1] / tokens[0]:.0f} times the tokens"
)
assert len(table) == questions.count()
assert right[1] > right[0] + 0.1
assert tokens[1] > 2 * tokens[0]
