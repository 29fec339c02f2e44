# %% [markdown]
# # Search a table by meaning
#
# A sentence-embedding model turns each text into a vector, so that texts of like meaning have vectors of like direction.
# Once a table has a column of vectors, a search is a multiplication: no words need to match.
#
# **When to use this:** search in tickets, products or notes; finding duplicates; choosing passages for a language model.

# %%
from server_utils import open_notebook

spark, notebook = open_notebook("semantic_search")

# %% [markdown]
# ## A table, and reviews that people have judged
#
# For eight questions somebody has read 600 snippets of film reviews, and noted those that are about the question. At small
# scale these snippets are the whole table. At full scale they are added to it.

# %%
judged = notebook.table("movie_reviews", rows=600).cache()
reviews = notebook.table("reviews", rows=notebook.pick(small=600, full=None)).union(judged).dropDuplicates(["id"])
reviews = notebook.spread(reviews).cache()
questions = {
    "fun for children and their families": "195 937 955 1344 1591 2581 2652 2758 4402 4419 4472 5091 5550 6929 7406 8378",
    "a documentary about real people": "89 743 920 1803 1927 2722 3376 3571 4013 4136 4755",
    "war, and what it does to people": "3111 3571 4136 4278 7371",
    "a comedy with great laughs": "124 177 743 1043 1450 2669 3094 3200 4225 5056 10464",
    "actors who play badly": "5816 9457 9492",
    "a love story": "725 1308 1733 2192 2917 4030 4950 5126 7053 7459",
    "vampires, werewolves and ghosts": "4596 6417 8096",
    "a thriller that is full of suspense": "1132 1856 3412 3942 8979 10075",
}
notebook.show(judged.orderBy("id").limit(3))

# %% [markdown]
# ## A server beside each executor
#
# The function runs in the environment `triton`. It loads the model once for all tasks of its executor.


# %%
def encoder_server(ports, model_path):
    import numpy as np
    from pytriton.decorators import batch
    from pytriton.model_config import ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(model_path)

    @batch
    def encode(text):
        texts = [each.decode() for each in text[:, 0]]
        return {"vector": model.encode(texts, normalize_embeddings=True, show_progress_bar=False)}

    with Triton(config=TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])) as triton:
        triton.bind(
            "encode",
            encode,
            inputs=[Tensor(name="text", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="vector", dtype=np.float32, shape=(-1,))],
            config=ModelConfig(max_batch_size=256),
        )
        triton.serve()


# %% [markdown]
# ## Vectors for the table, and for the questions
#
# The table is embedded once and written down. A question is embedded by the same servers.

# %%
import time

from server_utils import TritonServerManager, data_url

asked = spark.createDataFrame([[question] for question in questions], "question string").coalesce(1)

with TritonServerManager("encoder", notebook.model()) as servers:
    servers.start_servers(encoder_server)
    began = time.monotonic()
    reviews.withColumn("vector", servers.embed("text")).write.mode("overwrite").parquet(data_url("review-vectors"))
    seconds = time.monotonic() - began
    queries = asked.withColumn("query", servers.embed("question")).toPandas()

vectors = spark.read.parquet(data_url("review-vectors"))

# %% [markdown]
# ## Search
#
# Two texts are as alike as the cosine between their vectors. Spark has `vector_cosine_similarity` since 4.3. Before, the
# same number is a sum of products, as these vectors have length 1.

# %%
from pyspark.sql import Window
from pyspark.sql import functions as F


def similarity(left, right):
    if hasattr(F, "vector_cosine_similarity"):
        return F.vector_cosine_similarity(left, right)
    products = F.zip_with(left, right, lambda a, b: (a * b).cast("double"))
    return F.aggregate(products, F.lit(0.0), lambda total, each: total + each)


def search(table, count=3):
    """The rows that are most like each question."""
    found = table.crossJoin(spark.createDataFrame(queries, "question string, query array<float>")).withColumn(
        "similarity", similarity("vector", "query")
    )
    best = F.row_number().over(Window.partitionBy("question").orderBy(F.desc("similarity"), "id"))
    found = found.withColumn("rank", best).where(F.col("rank") <= count)
    return found.select("question", "rank", "similarity", "id", "text").orderBy("question", "rank").toPandas()


hits = search(vectors)
notebook.show(hits.head(9), ["question", "similarity", "text"])

# %% [markdown]
# ## Are the hits what people would choose?
#
# Now only the snippets that people have judged are searched. *Precision at 3* is the share of the first three hits that
# are about the question. Blue hits are, grey ones are not. Where a question says how good something is, the model finds
# the subject more surely than the opinion.

# %%
import matplotlib.pyplot as plt

checked = search(vectors.join(judged.select("id"), "id", "left_semi"))
checked["right"] = [str(row.id) in questions[row.question].split() for row in checked.itertuples()]
figure, area = plt.subplots(figsize=(7.2, 8.4))
for place, question in enumerate(questions):
    rows = checked[checked.question == question]
    heights = [4.2 * place + rank for rank in rows["rank"]]
    area.text(0, heights[0] - 0.75, question, fontsize=9, weight="bold", va="center")
    area.barh(heights, rows.similarity, color=["#8ab4f8" if right else "#dadce0" for right in rows.right], height=0.9)
    for height, text in zip(heights, rows.text):
        area.text(0.005, height, text if len(text) < 84 else text[:83] + "…", fontsize=7, va="center")
area.invert_yaxis()
area.set_yticks([])
area.spines["left"].set_visible(False)
area.set_xlabel("similarity")
area.set_title("the first three hits of each question")
plt.show()

# %%
PRICE_PER_HOUR = 1.0  # of the whole cluster, in your currency: put yours in
rows, precision = vectors.count(), float(checked.right.mean())
by_chance = sum(len(ids.split()) for ids in questions.values()) / len(questions) / judged.count()
notebook.show_speed(rows, seconds, price_per_hour=PRICE_PER_HOUR)
print(f"precision at 3 is {precision:.0%} for {len(questions)} questions; by chance it would be {by_chance:.0%}")
assert rows == reviews.count()
assert len(hits) == len(checked) == 3 * len(questions)
assert precision > 0.5
