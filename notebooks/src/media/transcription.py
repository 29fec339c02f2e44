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
# quietest moment of its second half. A file that cannot be decoded becomes one row with an error, and no sound: the
# job goes on.
#
# There is one recording. At full scale it stands for an archive: it is there 400 times.

# %%
import time

from pyspark.sql import functions as F

LONGEST = notebook.pick(small=12, full=28)  # seconds


def cut(frames):
    import io
    import wave

    import numpy as np
    import pandas as pd

    def decode(file):
        sound = wave.open(io.BytesIO(file))
        if sound.getsampwidth() != 2:
            raise wave.Error(f"samples have {8 * sound.getsampwidth()} bits; convert the recording to 16")
        samples = np.frombuffer(sound.readframes(sound.getnframes()), np.int16).reshape(-1, sound.getnchannels())
        times = np.arange(0, len(samples), sound.getframerate() / 16_000)
        return np.interp(times, np.arange(len(samples)), samples.mean(axis=1)).astype(np.int16)

    def pieces_of(name, file):
        try:
            samples = decode(file)
        except (EOFError, ValueError, wave.Error) as error:
            yield name, None, None, None, str(error) or "the file ends too early"
            return
        start = 0
        for end in ends(samples):
            yield name, start / 16_000, (end - start) / 16_000, samples[start:end].tobytes(), None
            start = end

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
            yield pd.DataFrame(pieces_of(name, file), columns=["name", "start", "length", "sound", "error"])


times = notebook.pick(small=1, full=400)
recordings = notebook.table("recordings").crossJoin(spark.range(times).withColumnRenamed("id", "copy"))
recordings = recordings.select(F.concat_ws("-", "name", "copy").alias("name"), "file", "text")
recordings = recordings.union(spark.createDataFrame([("no_recording", bytes(100), None)], recordings.schema))
recordings = recordings.repartition(times + 1)  # a task for each
schema = "name string, start double, length double, sound binary, error string"
began = time.monotonic()
pieces = notebook.spread(recordings.mapInPandas(cut, schema)).cache()
lengths = [
    F.round(F.sum("length"), 1).alias("seconds"),
    F.count("sound").alias("pieces"),
    F.first("error").alias("error"),
]
notebook.show(pieces.groupBy("name").agg(*lengths).orderBy("name").limit(5))
cutting = time.monotonic() - began  # of all recordings: their pieces wait in memory

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
from server_utils import TritonServerManager, data_url

with TritonServerManager("speech", notebook.model()) as servers:
    servers.start_servers(speech_server)
    began = time.monotonic()
    written = pieces.withColumn("text", servers.tensors("sound"))
    written.write.mode("overwrite").parquet(data_url("transcripts"))
    hearing = time.monotonic() - began

transcripts = spark.read.parquet(data_url("transcripts"))
answers = transcripts.where("text is not null").orderBy("name", "start").toPandas()
notebook.show(answers[["name", "start", "length", "text"]].head(8))

# %% [markdown]
# ## What was said
#
# The recording is the first sentence of *A Tale of Two Cities*, which the table has beside it. How many of the words that
# were written down must be changed, left out or put in to get those of the book?

# %%
import io
import re
import wave

import numpy as np


def words(text):
    return re.findall(r"[a-z]+", text.lower().replace("'", ""))


recording = recordings.where("text is not null").orderBy("name").first()
book, texts = words(recording.text), answers.groupby("name").text.agg(" ".join)
wrong = float(np.mean([notebook.edits(words(text), book) for text in texts])) / len(book)

# %%
import matplotlib.pyplot as plt

shown = answers[answers.name == recording.name]
whole = np.concatenate([np.frombuffer(sound, np.int16) for sound in shown.sound])
loudest = np.abs(whole.astype(int)).max()
plt.figure(figsize=(7.2, 3.2))
plt.plot(np.arange(0, len(whole), 10) / 16_000, whole[::10], color="#1a73e8", linewidth=0.4)
for row in shown.itertuples():
    plt.axvline(row.start, color="#d93025", linewidth=1)
    plt.text(row.start + 0.2, 1.05 * loudest, " ".join(row.text.split()[:5]) + " …", rotation=25, fontsize=8)
plt.xlabel("seconds; red: where it was cut")
plt.ylim(-loudest, loudest)
plt.yticks([])
plt.show()

# %%
PRICE_PER_HOUR = 1.0  # of the whole cluster, in your currency: put yours in
length, seconds = float(answers.length.sum()), cutting + hearing
broken = transcripts.where("error is not null").count()
cost = {"speech, s": length, "to cut, s": cutting, "to write down, s": hearing}
cost |= {"times as fast as it was spoken": length / seconds}
notebook.show([cost | {"cost per hour of speech": f"{PRICE_PER_HOUR * seconds / length:.2f}"}])
notebook.show_speed(len(answers), seconds, price_per_hour=PRICE_PER_HOUR)
print(f"{wrong:.0%} of {len(book)} words are wrong; {broken} file could not be decoded")
assert broken == 1
assert len(answers) == pieces.where("sound is not null").count()
with wave.open(io.BytesIO(recording.file)) as file:
    assert np.isclose(length, times * file.getnframes() / file.getframerate(), rtol=1e-4)
assert wrong < 0.15
