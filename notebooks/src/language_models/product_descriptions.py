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
# Wines of three growers with their chemical analysis. Readers want words instead of measurements: Spark turns each number
# into a word for its level. For a table of yours, read `spark.read.parquet(data_url("name"))`, with a column for each fact.

# %%
from pyspark.sql import functions as F

LEVELS = {
    "colour": ("pale", "medium", "deep"),
    "acidity": ("low", "medium", "high"),
    "tannin": ("soft", "medium", "firm"),
}


def level(fact, column, low, high):
    """The word for a measurement: below the lower bound, above the higher one, or between them."""
    words = LEVELS[fact]
    return F.when(F.col(column) < low, words[0]).when(F.col(column) > high, words[2]).otherwise(words[1]).alias(fact)


wines = notebook.table("wines", rows=notebook.pick(small=12, full=None))
wines = wines.select(
    "id",
    F.format_string("%.1f%%", "alcohol").alias("alcohol"),
    level("colour", "color_intensity", 3.5, 6.0),
    level("acidity", "malic_acid", 1.7, 3.0),
    level("tannin", "flavanoids", 1.2, 2.7),
)
facts = ["alcohol", *LEVELS]
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
# In Spark, as it would be in a job. Three questions: Is each fact in the text, next to its noun, such as "low acidity" or
# "a pale wine"? Does the text say another level of it? Does it have a number, or a word for colour or taste, that is not on
# the sheet? A text that fails one of them goes to a person.

# %%
NOUNS = {"acidity": "acidity", "tannin": "tannins?", "colour": "(?:wine|red|hue|colou?r)"}
NOT_ON_A_SHEET = r"(?i)\b(sweet\w*|dry|dark(?! meat)|oaky?|fruity|floral|spicy|smoky|bitter|fizzy)\b"


def says(fact, word):
    """Whether the text has the word before the noun of its fact: with two other words between them at most."""
    between = r"(?:[ ,-]+(?!bodied|acidity|tannin|low|medium|high|soft|firm)\w+){0,2}[ ,-]+"
    after = rf"|\b{NOUNS[fact]} (?:is |of )?{word}\b" if fact != "colour" else rf"|\bcolou?r (?:is |of )?{word}\b"
    return F.col("text").rlike(rf"(?i)\b{word}{between}{NOUNS[fact]}\b{after}")


def any_of(conditions):
    return F.array_contains(F.array(*conditions), True)


kept = [F.col("text").contains(F.col("alcohol")).alias("alcohol")]
kept += [
    any_of([(F.col(fact) == word) & says(fact, word) for word in words]).alias(fact) for fact, words in LEVELS.items()
]
contradicted = any_of(
    [(F.col(fact) != word) & says(fact, word) for fact, words in LEVELS.items() for word in words]
).alias("contradicted")
numbers = F.regexp_extract_all("text", F.lit("([0-9]+([.][0-9]+)?)"))
invented = F.size(F.array_except(numbers, F.array(F.regexp_extract("alcohol", "[0-9.]+", 0)))) > 0
added = F.col("text").rlike(NOT_ON_A_SHEET)
checked = described.select(
    "sheet", "text", *kept, contradicted, invented.alias("invented"), added.alias("added")
).toPandas()

# %%
import matplotlib.pyplot as plt

faults = {"contradicted": "another level", "invented": "a number of its own", "added": "a colour or taste of its own"}
shares = checked[[*facts, *faults]].mean().astype(float)
names = [*facts, *faults.values()]
plt.figure(figsize=(7.2, 3.2))
bars = plt.barh(names[::-1], shares[::-1], color=["#f9ab00"] * len(faults) + ["#1a73e8"] * len(facts))
plt.bar_label(bars, [f"{share:.0%}" for share in shares[::-1]], padding=4)
plt.xlim(0, 1.1)
plt.xticks([])
plt.gca().spines["bottom"].set_visible(False)
plt.title(f"share of {len(checked)} texts that have the fact (blue) or the fault (yellow)")
plt.show()

# %%
PRICE_PER_HOUR = 1.0  # of the whole cluster, in your currency: put yours in
faithful, false = float(shares[facts].mean()), float(checked.invented.mean())
ready = float((checked[facts].all(axis=1) & ~checked[[*faults]].any(axis=1)).mean())
notebook.show_speed(len(checked), seconds, price_per_hour=PRICE_PER_HOUR)
print(
    f"{faithful:.0%} of the facts are in the texts, {false:.0%} of {len(checked)} texts have a number that is not on their "
    f"sheet; {ready:.0%} need no person"
)
assert len(checked) == wines.count()
assert faithful > 0.75
assert false < 0.25
