# %% [markdown]
# # Transcribe recordings
#
# Spark's tasks decode the recordings and cut them where nobody speaks; Whisper, on the server of the executor, writes
# down each piece. So a recording of several minutes becomes many small rows, which all executors share.
#
# **When to use this:** calls, meetings, broadcasts, dictation.

# %%
from server_utils import open_notebook

spark, notebook = open_notebook("transcription")

# %% [markdown]
# ## Cut at pauses
#
# Whisper hears half a minute at most, at 16,000 samples a second. Each piece is as long as it may be, and ends at the
# quietest moment of its second half.

# %%
LONGEST = notebook.pick(small=12, full=28)  # seconds


def cut(frames):
    import io
    import wave

    import numpy as np
    import pandas as pd

    def decode(file):
        sound = wave.open(io.BytesIO(file))
        if sound.getsampwidth() != 2:
            raise ValueError(
                f"samples of 16 bits are wanted; these have {8 * sound.getsampwidth()}: convert the recording"
            )
        samples = np.frombuffer(sound.readframes(sound.getnframes()), np.int16).reshape(-1, sound.getnchannels())
        times = np.arange(0, len(samples), sound.getframerate() / 16_000)
        return np.interp(times, np.arange(len(samples)), samples.mean(axis=1)).astype(np.int16)

    def ends(samples):
        loud = np.convolve(np.abs(samples, dtype=np.float32), np.ones(4000) / 4000, "same")
        start, longest = 0, LONGEST * 16_000
        while len(samples) - start > longest:
            start += longest // 2
            start += int(loud[start : start + longest // 2].argmin())
            yield start
        yield len(samples)

    for frame in frames:
        for name, file in zip(frame.name, frame.file):
            samples, start = decode(file), 0
            for end in ends(samples):
                piece = (name, start / 16_000, (end - start) / 16_000, samples[start:end].tobytes())
                yield pd.DataFrame([piece], columns=["name", "start", "length", "sound"])
                start = end


recordings = notebook.table("recordings")
pieces = recordings.mapInPandas(cut, "name string, start double, length double, sound binary").repartition(4).cache()
notebook.show(pieces.groupBy("name").agg({"length": "sum", "*": "count"}))

# %% [markdown]
# ## The server


# %%
def speech_server(ports, model_path):
    import numpy as np
    import torch
    from pytriton.decorators import batch
    from pytriton.model_config import ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig
    from transformers import AutoFeatureExtractor, AutoModelForSpeechSeq2Seq, AutoTokenizer

    torch.set_num_threads(1)  # the cores of the host are for all of its servers and tasks
    device, kind = ("cuda", torch.float16) if torch.cuda.is_available() else ("cpu", torch.float32)
    model = AutoModelForSpeechSeq2Seq.from_pretrained(model_path, dtype=kind).eval().to(device)
    hear, tokenizer = AutoFeatureExtractor.from_pretrained(model_path), AutoTokenizer.from_pretrained(model_path)

    @batch
    def transcribe(sound):
        waves = [np.frombuffer(each, np.int16).astype(np.float32) / 32_768 for each in sound[:, 0]]
        heard = hear(waves, sampling_rate=16_000, return_tensors="pt").input_features.to(device, kind)
        with torch.inference_mode():
            texts = tokenizer.batch_decode(model.generate(heard), skip_special_tokens=True)
        return {"text": np.char.encode([[text.strip()] for text in texts], "utf-8")}

    with Triton(config=TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])) as triton:
        triton.bind(
            "transcribe",
            transcribe,
            inputs=[Tensor(name="sound", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="text", dtype=bytes, shape=(1,))],
            config=ModelConfig(max_batch_size=16),
        )
        triton.serve()


# %%
import time

from server_utils import TritonServerManager, data_url

with TritonServerManager("speech", notebook.model()) as servers:
    servers.start_servers(speech_server)
    began = time.monotonic()
    written = pieces.withColumn("text", servers.tensors("sound"))
    written.write.mode("overwrite").parquet(data_url("transcripts"))
    seconds = time.monotonic() - began

answers = spark.read.parquet(data_url("transcripts")).orderBy("name", "start").toPandas()
notebook.show(answers[["start", "length", "text"]])

# %% [markdown]
# ## What was said
#
# The recording is the first sentence of *A Tale of Two Cities*. The words that were written down are set beside those of
# the book: how many would have to be changed, left out or put in?

# %%
import re

import numpy as np

BOOK = """It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, it was
the epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of Darkness, it was the
spring of hope, it was the winter of despair, we had everything before us, we had nothing before us, we were all going
direct to Heaven, we were all going direct the other way--in short, the period was so far like the present period, that some
of its noisiest authorities insisted on its being received, for good or for evil, in the superlative degree of comparison
only."""


def words(text):
    return re.findall(r"[a-z]+", text.lower().replace("'", ""))


def edits(found, wanted):
    row = list(range(len(wanted) + 1))
    for number, word in enumerate(found, 1):
        before, row = row, [number]
        for place, other in enumerate(wanted):
            row.append(min(before[place] + (word != other), before[place + 1] + 1, row[place] + 1))
    return row[-1]


book = words(BOOK)
wrong = edits(words(" ".join(answers.text)), book) / len(book)

# %%
import matplotlib.pyplot as plt

whole = np.concatenate([np.frombuffer(sound, np.int16) for sound in answers.sound])
loudest = np.abs(whole.astype(int)).max()
plt.figure(figsize=(7.2, 3.2))
plt.plot(np.arange(0, len(whole), 10) / 16_000, whole[::10], color="#1a73e8", linewidth=0.4)
for row in answers.itertuples():
    plt.axvline(row.start, color="#d93025", linewidth=1)
    plt.text(row.start + 0.2, 1.05 * loudest, " ".join(row.text.split()[:3]) + " …", rotation=25, fontsize=8)
plt.xlabel("seconds; red: where it was cut")
plt.ylim(-loudest, loudest)
plt.yticks([])
plt.show()

# %%
length = float(answers.length.sum())
cost = {"speech, s": length, "seconds": seconds, "times as fast": length / seconds}
notebook.show([cost | {"cost per hour of speech, at 1.00 per hour": f"{seconds / length:.2f}"}])
print(f"{wrong:.0%} of {len(book)} words are wrong")
assert len(answers) == pieces.count()
assert np.isclose(length, len(whole) / 16_000)
assert wrong < 0.15
