# %% [markdown]
# # A text classifier of your own in Keras
#
# A model that reads text needs its words as numbers. Keras' `TextVectorization` is a layer of the model: it holds the
# words that it has learned, so a string goes in, and whoever serves the model has no list of words to keep beside it.
#
# **When to use this:** many labelled texts, a fixed question, and millions of rows at a price that a language model cannot
# reach.

# %%
from server_utils import open_notebook

spark, notebook = open_notebook("keras_text_classification")

# %% [markdown]
# ## Reviews and what people think of them
#
# Those on which people agreed: a mean score of at least one, or at most minus one. Three quarters are known to
# the model.

# %%
from pyspark.sql import functions as F

reviews = notebook.table("movie_reviews").where("abs(score) >= 1")
reviews = reviews.withColumn("positive", F.col("score") > 0).withColumn("known", F.xxhash64("id") % 4 != 0).cache()
notebook.show(reviews.orderBy("id").limit(4), ["positive", "score", "text"])

# %% [markdown]
# ## Train with TensorFlow
#
# TensorFlow is in the sealed environment `tf`, not in Spark's Python: `notebook.call` runs the function there. Each word
# and each pair of words has a vector. One layer turns the mean of a text's vectors into a probability. The function
# answers with the model's file, and with the weight of each word and pair.


# %%
def train(texts, labels):
    import tempfile
    from pathlib import Path

    import keras
    import numpy as np
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    words = 12_000
    vectorize = keras.layers.TextVectorization(words, ngrams=2, output_sequence_length=64)
    vectorize.adapt(tf.constant(texts))
    embed = keras.layers.Embedding(words, 16, mask_zero=True)
    weigh = keras.layers.Dense(1, activation="sigmoid")
    tokens = keras.Input((64,), dtype="int64")
    mean = keras.layers.GlobalAveragePooling1D()(embed(tokens))
    learner = keras.Model(tokens, weigh(keras.layers.Dropout(0.3)(mean)))
    learner.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    learner.fit(vectorize(tf.constant(texts)), np.array(labels, "float32"), batch_size=128, epochs=4, verbose=0)
    text = keras.Input((1,), name="text", dtype="string")
    weights = embed.get_weights()[0] @ weigh.get_weights()[0][:, 0]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.keras")
        keras.Model(text, learner(vectorize(text))).save(file)
        return file.read_bytes(), dict(zip(vectorize.get_vocabulary()[2:], weights[2:].tolist()))


# %%
import tempfile
from pathlib import Path

from server_utils import model_url, save_model

known = reviews.where("known").orderBy("id").toPandas()
trained, weights = notebook.call(train, known.text.tolist(), known.positive.tolist(), environment="tf")
with tempfile.TemporaryDirectory() as folder:
    Path(folder, "model.keras").write_bytes(trained)
    url = save_model(folder, model_url("review-classifier"), overwrite=True)

# %% [markdown]
# ## Serve it


# %%
def review_server(ports, model_path):
    import keras
    import numpy as np
    import tensorflow as tf
    from pytriton.decorators import batch
    from pytriton.model_config import ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    answer = tf.function(keras.models.load_model(f"{model_path}/model.keras"), reduce_retracing=True)

    @batch
    def review(text):
        return {"probability": answer(tf.constant(text)).numpy()}

    with Triton(config=TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])) as triton:
        triton.bind(
            "review",
            review,
            inputs=[Tensor(name="text", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="probability", dtype=np.float32, shape=(1,))],
            config=ModelConfig(max_batch_size=4096),
        )
        triton.serve()


# %% [markdown]
# ## Judge the reviews that it has not seen

# %%
import time

from server_utils import TritonServerManager, data_url

unseen = reviews.where("not known")
with TritonServerManager("review", url, environment="tf") as servers:
    servers.start_servers(review_server)
    began = time.monotonic()
    judged = unseen.withColumn("probability", servers.tensors("text"))
    judged.write.mode("overwrite").parquet(data_url("judged-reviews"))
    seconds = time.monotonic() - began

answers = spark.read.parquet(data_url("judged-reviews")).orderBy("id").toPandas()
notebook.show(answers[["probability", "positive", "text"]].head(5))

# %% [markdown]
# ## What it has learned
#
# The words and pairs that speak most for a good review, and most against it.

# %%
import matplotlib.pyplot as plt

ranked = sorted(weights, key=weights.get)
shown = ranked[:12] + ranked[-12:]
figure, area = plt.subplots(figsize=(5.6, 5.2))
area.barh(shown, [weights[word] for word in shown], color=["#d93025"] * 12 + ["#188038"] * 12)
area.set_title("against a good review, and for it")
area.set_xlabel("weight of the word or pair")
plt.show()

# %%
right = float(((answers.probability > 0.5) == answers.positive).mean())
always = max(answers.positive.mean(), 1 - answers.positive.mean())
PRICE_PER_HOUR = 1.0  # of the whole cluster, in your currency: put yours in
notebook.show_speed(len(answers), seconds, price_per_hour=PRICE_PER_HOUR)
print(
    f"{right:.0%} of {len(answers):,} unseen reviews are judged as people do; the more frequent answer alone would reach {always:.0%}"
)
assert len(answers) == unseen.count()
assert answers.probability.notna().all()
assert right > always + 0.1
