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

# %%
reviews = notebook.table("movie_reviews", rows=notebook.pick(small=600, full=None))
notebook.show(reviews.limit(3))

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

questions = [
    "a scary film about ghosts and vampires",
    "animation that children will love",
    "a documentary about musicians",
]
asked = spark.createDataFrame([*enumerate(questions)], "number int, text string").coalesce(1)

with TritonServerManager("encoder", notebook.model()) as servers:
    servers.start_servers(encoder_server)
    began = time.monotonic()
    reviews.withColumn("vector", servers.embed("text")).write.mode("overwrite").parquet(data_url("review-vectors"))
    seconds = time.monotonic() - began
    queries = asked.withColumn("query", servers.embed("text")).select("number", "query").toPandas()

vectors = spark.read.parquet(data_url("review-vectors"))

# %% [markdown]
# ## Search
#
# The vectors have length 1, so the cosine is their inner product. Spark has a function for it since 4.3; before, it
# multiplies and adds.

# %%
from pyspark.sql import Window
from pyspark.sql import functions as F


def inner_product(left, right):
    if hasattr(F, "vector_inner_product"):
        return F.vector_inner_product(left, right)
    return F.aggregate(
        F.zip_with(left, right, lambda a, b: (a * b).cast("double")), F.lit(0.0), lambda total, each: total + each
    )


found = vectors.crossJoin(spark.createDataFrame(queries, "number int, query array<float>"))
found = found.withColumn("similarity", inner_product("vector", "query"))
best = F.row_number().over(Window.partitionBy("number").orderBy(F.desc("similarity")))
hits = (
    found.withColumn("rank", best)
    .where("rank <= 3")
    .orderBy("number", "rank")
    .select("number", "similarity", "id", "text")
)
hits = hits.toPandas()
hits["question"] = hits.number.map(dict(enumerate(questions)))
notebook.show(hits, ["question", "similarity", "text"])

# %% [markdown]
# ## The table as a map
#
# The two directions in which the vectors differ most. A dot is a review, a star a question, a ring an answer.

# %%
import matplotlib.pyplot as plt
import numpy as np

table = vectors.orderBy("id").toPandas()
cloud = np.stack(table.vector)
axes = np.linalg.svd(cloud - cloud.mean(axis=0), full_matrices=False)[2][:2]
x, y = axes @ (cloud - cloud.mean(axis=0)).T
plt.scatter(x, y, c=table.score, cmap="RdYlGn", s=10)
plt.colorbar(label="people's score")
for number, color in enumerate(["#1a73e8", "#9334e6", "#e8710a"]):
    rings = table.id.isin(hits[hits.number == number].id)
    star = axes @ (np.array(queries["query"][number]) - cloud.mean(axis=0))
    plt.scatter(x[rings], y[rings], s=90, facecolors="none", edgecolors=color)
    plt.scatter(*star, marker="*", s=180, color=color, edgecolors="white", label=questions[number])
plt.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.05), frameon=False)
plt.xticks([])
plt.yticks([])
plt.show()

# %% [markdown]
# ## How good, how fast
#
# The servers' price is of the whole cluster, per hour: put yours in. The check: reviews near each other should be of
# like opinion more often than chance, although nobody told the model what the scores are.

# %%
nearest = (cloud @ cloud.T - 2 * np.eye(len(cloud))).argmax(axis=1)
clear = (table.score.abs() > 1) & (table.score[nearest].abs().to_numpy() > 1)
agree = float((np.sign(table.score) == np.sign(table.score[nearest].to_numpy()))[clear].mean())
notebook.show_speed(len(table), seconds, price_per_hour=1.0)
print(f"{agree:.0%} of {clear.sum()} reviews are of the opinion of the review that is most like them")
assert len(table) == reviews.count()
assert agree > 0.55
assert (hits.groupby("number").similarity.max() > 0.3).all()
