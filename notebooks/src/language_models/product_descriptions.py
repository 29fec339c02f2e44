# %% [markdown]
# # Descriptions of products
#
# A shop has a sheet of facts for each product and wants a text that sells it. A language model writes it. A text that is
# wrong costs more than none. So the notebook counts the facts that each text keeps, and the numbers that it invents.
#
# **When to use this:** shops, real estate, job offers: many short texts out of a table, each to be checked.

# %%
from server_utils import open_notebook

spark, notebook = open_notebook("product_descriptions")

# %% [markdown]
# ## Products, and a sheet for each
#
# Wines of three growers with their chemical analysis. Readers want words instead of measurements: Spark turns the
# numbers into words.

# %%
from pyspark.sql import functions as F


def level(column, low, high, words):
    return F.when(F.col(column) < low, words[0]).when(F.col(column) > high, words[2]).otherwise(words[1])


wines = notebook.table("wines", rows=notebook.pick(small=12, full=None))
wines = wines.select(
    "id",
    F.format_string("%.1f%%", "alcohol").alias("alcohol"),
    level("color_intensity", 3.5, 6.0, ("pale", "medium", "deep")).alias("colour"),
    level("malic_acid", 1.7, 3.0, ("low", "medium", "high")).alias("acidity"),
    level("flavanoids", 1.2, 2.7, ("soft", "medium", "firm")).alias("tannin"),
)
facts = ["alcohol", "colour", "acidity", "tannin"]
sheet = F.concat_ws("; ", *(F.concat(F.lit(f"{fact} "), fact) for fact in facts))
wines = wines.withColumn("sheet", sheet).cache()
notebook.show(wines.orderBy("id").limit(3), ["id", "sheet"])

# %% [markdown]
# ## Show the tone, and ask
#
# Two texts of an earlier catalogue show what is wanted: the length, the tone, and that every fact is in it.

# %%
import time

from server_utils import VLLMServerManager, data_url

task = "You write for a wine shop. Describe the wine in two short sentences, with every fact of its sheet."
examples = [
    (
        "alcohol 12.9%; colour pale; acidity high; tannin soft",
        "A pale, fresh wine with high acidity and soft tannin. "
        "At 12.9% alcohol it goes well with fish and summer evenings.",
    ),
    (
        "alcohol 13.6%; colour deep; acidity low; tannin firm",
        "A deep, mellow wine with low acidity and firm tannin. "
        "At 13.6% alcohol it goes well with roast meat and long winters.",
    ),
]


def message(role, content):
    return F.struct(F.lit(role).alias("role"), content.alias("content"))


shots = [message(role, F.lit(text)) for pair in examples for role, text in zip(("user", "assistant"), pair)]
messages = F.array(message("system", F.lit(task)), *shots, message("user", F.col("sheet")))

with VLLMServerManager("writer", notebook.model()) as servers:
    servers.start_servers(**notebook.engine_options(max_model_len=2048))
    text = servers.chat(messages, max_tokens=notebook.pick(small=48, full=120), temperature=0)
    began = time.monotonic()
    wines.withColumn("text", text).write.mode("overwrite").parquet(data_url("descriptions"))
    seconds = time.monotonic() - began

described = spark.read.parquet(data_url("descriptions")).cache()
notebook.show(described.orderBy("id").limit(6), ["sheet", "text"])

# %% [markdown]
# ## Check every text
#
# In Spark, as it would be in a job: is each fact in the text, as "low acidity" with its name, and is there a number that
# the sheet lacks? What fails goes to a person.

# %%
named = {"acidity": " acidity", "tannin": " tannin"}  # "medium" alone may belong to another fact
kept = [
    F.rlike("text", F.concat(F.lit(r"(?i)\b\Q"), fact, F.lit(rf"\E{named.get(fact, '')}"))).alias(fact)
    for fact in facts
]
numbers = F.regexp_extract_all("text", F.lit("([0-9]+([.][0-9]+)?)"))
invented = F.size(F.array_except(numbers, F.array(F.regexp_extract("alcohol", "[0-9.]+", 0)))) > 0
checked = described.select("sheet", "text", *kept, invented.alias("invented")).toPandas()

# %%
import matplotlib.pyplot as plt

shares = checked[facts].mean().astype(float)
plt.figure(figsize=(7.2, 2.2))
bars = plt.barh(facts[::-1], shares[::-1], color="#1a73e8")
plt.bar_label(bars, [f"{share:.0%}" for share in shares[::-1]], padding=4)
plt.xlim(0, 1.1)
plt.xticks([])
plt.gca().spines["bottom"].set_visible(False)
plt.title(f"share of {len(checked)} texts that have the fact of their sheet")
plt.show()

# %%
faithful, false = float(shares.mean()), float(checked.invented.mean())
ready = float((checked[facts].all(axis=1) & ~checked.invented).mean())
notebook.show_speed(len(checked), seconds, price_per_hour=1.0)
print(
    f"{faithful:.0%} of the facts are in the texts, {false:.0%} of {len(checked)} texts have a number that is not on their "
    f"sheet; {ready:.0%} need no person"
)
assert len(checked) == wines.count()
assert faithful > 0.75
assert false < 0.25
