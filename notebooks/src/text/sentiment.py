# %% [markdown]
# # Sentiment from a few hundred labels
#
# A sentence-embedding model knows much about texts already. A logistic regression on its vectors learns what *you* want
# to know of them from a few hundred labels, in a second. The vectors are computed once, by the servers; other questions
# about the same texts need only another regression.
#
# A published classifier needs no labels, but answers only the question that it was trained for. It runs in the same
# server: load `pipeline("text-classification", model=model_path)` of `transformers` in the function below, and return its
# scores. No package ships such a model, so this notebook trains one, which runs without a network too.
#
# **When to use this:** many rows, a few labels, and a price per row that a language model cannot reach.

# %%
from server_utils import open_notebook

spark, notebook = open_notebook("sentiment")

# %% [markdown]
# ## Reviews and what people think of them
#
# Those with a clear opinion: a mean score of at least 1, or at most -1.

# %%
from pyspark.sql import functions as F

reviews = notebook.table("reviews", rows=notebook.pick(small=800, full=None)).where("abs(score) >= 1")
reviews = reviews.withColumn("positive", F.col("score") > 0).cache()
notebook.show(reviews.limit(4), ["positive", "score", "text"])


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
        return {"vector": model.encode([each.decode() for each in text[:, 0]], show_progress_bar=False)}

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
# ## Vectors, once

# %%
import time

from server_utils import TritonServerManager, data_url

with TritonServerManager("encoder", notebook.model()) as servers:
    servers.start_servers(encoder_server)
    began = time.monotonic()
    reviews.withColumn("vector", servers.embed("text")).write.mode("overwrite").parquet(data_url("opinion-vectors"))
    seconds = time.monotonic() - began

vectors = spark.read.parquet(data_url("opinion-vectors"))

# %% [markdown]
# ## How many labels does it take?
#
# A third of the reviews, of 9,600 at most, is kept apart for the check. The regression is trained on more and more of the
# others.

# %%
import numpy as np
from sklearn.linear_model import LogisticRegression

table = vectors.orderBy(F.xxhash64("id")).limit(9600).toPandas()
X, y = np.stack(table.vector), table.positive.to_numpy()
third = len(table) // 3
counts = [count for count in (25, 50, 100, 200, 400, 1600, 6400) if count <= len(table) - third]
heads = [
    LogisticRegression(C=10, max_iter=1000).fit(X[third : third + count], y[third : third + count]) for count in counts
]
shares = [head.score(X[:third], y[:third]) for head in heads]

# %%
import matplotlib.pyplot as plt

always = max(y[:third].mean(), 1 - y[:third].mean())
plt.plot(counts, shares, marker="o", color="#1a73e8")
plt.axhline(always, color="#9aa0a6", linestyle="--")
plt.text(counts[-1], always, "always the same answer", color="#5f6368", ha="right", va="bottom")
plt.xscale("log")
plt.xticks(counts, counts)
plt.minorticks_off()
plt.xlabel("labels")
plt.title(f"accuracy on {third} other reviews")
plt.show()

# %% [markdown]
# ## On all rows
#
# The regression is a multiplication, so it runs in Spark itself, on the vectors that are there.

# %%
head = heads[-1]
weights, start = [float(each) for each in head.coef_[0]], float(head.intercept_[0])
products = F.zip_with("vector", F.array(*map(F.lit, weights)), lambda a, b: a * b)
logit = F.aggregate(products, F.lit(start), lambda total, each: total + each)
judged = vectors.withColumn("probability", 1 / (1 + F.exp(-logit)))
notebook.show(
    judged.orderBy(F.abs(F.col("probability") - 0.5).desc(), "id").limit(4).select("probability", "positive", "text")
)

# %%
PRICE_PER_HOUR = 1.0  # of the whole cluster, in your currency: put yours in
notebook.show_speed(judged.count(), seconds, price_per_hour=PRICE_PER_HOUR)
print(f"{shares[-1]:.0%} right with {counts[-1]} labels; always the same answer would reach {always:.0%}")
assert judged.where("probability is not null").count() == reviews.count()
assert shares[-1] > always + 0.1
