"""Every notebook from the bytes that users get, at small scale, on a real cluster with real servers.

Two of them run in `test_surroundings.py` only: a start of their servers costs as much as the rest of them.
What a notebook claims at its end is an assertion in it: a claim that fails, fails its cell.
"""

from __future__ import annotations

import ast
import json
from io import BytesIO

import pyarrow as pa
import pytest
from pyarrow import parquet
from support.fake_hub import fake_hub, settings

from integration.notebooks.conftest import ELSEWHERE, ask, execute, notebook_files
from server_utils.environments.lock_files import vllm_fits
from server_utils.notebooks import catalogue, sealed_call
from server_utils.notebooks.catalogue import Scale
from server_utils.storage.urls import parse

pytestmark = pytest.mark.notebook
# A server of a language model takes a processor for half a minute: one notebook starts two of them, the others one.
ON_TWO_EXECUTORS = "classification"
ONE_EXECUTOR = """
import atexit
from pyspark.sql import SparkSession
from server_utils.demo import spark_cluster
settings = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.log.level": "OFF",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
spark = SparkSession.builder.master("local-cluster[1,2,1024]").config(map=settings).getOrCreate()
atexit.register(spark_cluster.stop, spark)
"""
NAMES = [pytest.param(name, id=name) for name in catalogue.every() if name not in ELSEWHERE]


@pytest.fixture(scope="module")
def laptop(start_kernel):
    """A kernel for all of them: the first notebook starts the laptop's cluster, the others find it."""
    return start_kernel()


@pytest.fixture(scope="module")
def one_executor(start_kernel):
    """A kernel that has a Spark already, with one executor."""
    kernel = start_kernel()
    assert ask(kernel, ONE_EXECUTOR)[0] == "ok"
    return kernel


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_and_what_it_claims_holds(name, request, tmp_path):
    facts = catalogue.facts(name)
    is_of_language_model = facts.models is not None and facts.models[Scale.SMALL][0].name == "SmolLM2-135M-Instruct"
    if is_of_language_model and not vllm_fits():
        pytest.skip("vLLM does not run here")
    alone = is_of_language_model and name != ON_TWO_EXECUTORS
    kernel = request.getfixturevalue("one_executor" if alone else "laptop")
    execute(name, kernel, tmp_path)


def code_of(notebook, name):
    """The code of a function that a notebook defines."""
    tree = ast.parse(notebook_files.source(catalogue.facts(notebook)).read_text())
    return next(ast.unparse(each) for each in tree.body if getattr(each, "name", "") == name)


def test_the_full_translation_model_answers_a_text_alike_whatever_is_beside_it(tmp_path):
    scope = {"__name__": "__main__"}
    exec(code_of("translation", "translator"), scope)  # noqa: S102 - of this repository
    translator = scope["translator"]

    def answers(folder):  # of a random model of the full model's kind; inside, so that it travels by value
        import torch
        from tokenizers import Tokenizer, models, pre_tokenizers
        from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

        words = {word: number for number, word in enumerate(["<pad>", "</s>", "<unk>", "<2pt>", *"abcdefgh"])}
        tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
        inputs = ["input_ids", "attention_mask"]
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_input_names=inputs, **special).save_pretrained(folder)
        torch.set_num_threads(1)
        torch.manual_seed(3)
        sizes = {"vocab_size": len(words), "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
        T5ForConditionalGeneration(T5Config(**sizes, decoder_start_token_id=0)).save_pretrained(folder)
        translate = translator(folder)
        return translate(["a b"], ["pt"]), translate(["c d e f g h", "a b"], ["pt", "pt"])

    alone, together = sealed_call.call(answers, str(tmp_path), environment="triton")
    assert len(together) == 2
    assert alone[0]
    assert together[1] == alone[0]


ANSWERS = {
    "It is $18.00.": 18,
    r"\boxed{70{,}000}": 70_000,
    r"1,200 and then 1,\!234": 1234,
    "5 - 8 = -3": -3,
    "I do not know": None,
}


def test_the_last_number_of_an_answer_counts_also_as_latex_writes_it(laptop):
    code = f"""
from pyspark.sql import functions as F
from server_utils import open_notebook
spark, _ = open_notebook("sentiment")
{code_of("reasoning", "number_of")}
answers = spark.createDataFrame([(each,) for each in {[*ANSWERS]}], "answer string").coalesce(1)
print("READ", [row.number for row in answers.select(number_of(F.col("answer")).alias("number")).collect()])
"""
    status, printed = ask(laptop, code)
    assert status == "ok", printed
    assert ast.literal_eval(printed.partition("READ ")[2]) == [*ANSWERS.values()]


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("open_notebook('semantic')", "there is no notebook 'semantic'; did you mean semantic_search?"),
        ("open_notebook('sentiment')[1].table('tweets')", "there is no table 'tweets'"),
        ("open_notebook('tabular_regression')[1].model()", "tabular_regression trains its own model"),
    ],
)
def test_an_error_of_a_user_is_one_sentence_without_a_stack_trace(code, sentence, laptop):
    status, shown = ask(laptop, f"from server_utils import open_notebook\n{code}")
    assert status == "error"
    assert f"error: {sentence}" in shown
    assert "Traceback" not in shown
    assert "File " not in shown


def test_a_model_whose_licence_nobody_accepted_is_one_sentence_too(laptop):
    code = """
import os
from server_utils import open_notebook
os.environ.update(HF_ENDPOINT={hub!r}, SPARK_SIDECAR_SCALE="full")
try:
    open_notebook("semantic_search")[1].model()
finally:
    del os.environ["HF_ENDPOINT"]
    os.environ["SPARK_SIDECAR_SCALE"] = "small"
"""
    with fake_hub({}, gated="") as hub:
        status, shown = ask(laptop, code.format(hub=hub))
    assert status == "error"
    assert "accept its licence on the hub's page, and set HF_TOKEN" in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("raised", "sentence"),
    [
        ("InferenceError('row 17 is bad; mend it')", "error: row 17 is bad; mend it"),
        ("ValueError('no such layer')", "error: ValueError: no such layer"),
    ],
)
def test_what_fails_in_a_task_is_one_sentence_too_and_its_trace_is_kept(raised, sentence, laptop):
    code = f"""
from pyspark.sql import functions as F
from server_utils import InferenceError, open_notebook
spark, _ = open_notebook('sentiment')
def fail(_):
    raise {raised}
spark.range(1).coalesce(1).select(F.udf(fail)('id')).collect()
"""
    status, shown = ask(laptop, code)
    assert status == "error"
    assert f"{sentence}\n%tb shows the stack trace." in shown
    assert "Traceback" not in shown
    assert "File " not in shown
    assert "in fail" in ask(laptop, "%tb")[1]


def test_a_query_that_spark_refuses_is_one_sentence_without_its_log(laptop):
    code = "from server_utils import open_notebook\nspark, _ = open_notebook('sentiment')\nspark.range(1).select('x')"
    status, shown = ask(laptop, code)
    assert status == "error"
    assert "error: [UNRESOLVED_COLUMN" in shown
    assert "Project" not in shown
    assert "org.apache.spark" not in shown


# Data sets as their hub has them: their columns, and one row or two.
ON_THE_HUB = {
    "amazon_polarity": {"label": [1, 0], "title": ["Good", "Bad"], "content": ["I like it.", "It broke."]},
    "cnn_dailymail": {"article": ["A long text."], "highlights": ["Short."], "id": ["0a1b"]},
    "gsm8k": {"question": ["How much?"], "answer": ["Half of 2,400 is 1,200.\n#### 1,200"]},
    "mbpp": {"task_id": [7], "text": ["Write it."], "code": ["def it(x):\r\n    return x"], "test_list": [["it(1)"]]},
}
AS_TABLES = {
    "amazon_polarity": [{"score": -3.0, "text": "It broke."}, {"score": 3.0, "text": "I like it."}],
    "cnn_dailymail": [{"name": "0a1b", "text": "A long text.", "summary": "Short."}],
    "gsm8k": [{"question": "How much?", "thoughts": "Half of 2,400 is 1,200.", "total": 1200}],
    "mbpp": [{"module": "mbpp_7", "name": "it", "code": "def it(x):\r\n    return x", "summary": "Write it."}],
}
READ_FULL_DATA = """
import json, os
from server_utils import open_notebook
from server_utils.notebooks import catalogue, session
before = dict(os.environ)
os.environ |= {settings}
try:
    spark, _ = open_notebook("sentiment")
    for data in {{each.full_data.name: each for each in catalogue.every().values() if each.full_data}}.values():
        notebook = session.Notebook(spark, data, catalogue.Scale.FULL)
        rows = [row.asDict() for row in notebook.table(data.full_data.table, rows=9).drop("id").collect()]
        print("READ", json.dumps([data.full_data.name, sorted(rows, key=str)]))
finally:
    os.environ.clear()
    os.environ |= before
"""


def test_full_scale_reads_data_sets_of_a_hub_as_the_tables_of_packages(laptop, tmp_path):
    repositories = {}
    for data in {each.full_data.name: each.full_data for each in catalogue.every().values() if each.full_data}.values():
        address, content = parse(data.source), BytesIO()
        parquet.write_table(pa.table(ON_THE_HUB[data.name]), content)
        wanted = address.files.replace("*", "00000-of-00001")
        repositories[address.path] = {wanted: content.getvalue(), "README.md": b"", "other/x.parquet": b"no data"}
    with fake_hub(repositories) as hub:
        status, printed = ask(laptop, READ_FULL_DATA.format(settings=settings(hub, tmp_path)))
    assert status == "ok", printed
    read = [json.loads(line.removeprefix("READ ")) for line in printed.splitlines() if line.startswith("READ ")]
    assert dict(read) == AS_TABLES


def test_full_scale_without_a_gpu_says_what_to_do(laptop):
    code = "import os\nos.environ['SPARK_SIDECAR_SCALE'] = 'full'\nfrom server_utils import open_notebook\n"
    try:
        status, shown = ask(laptop, f"{code}open_notebook('classification')")
    finally:
        ask(laptop, "import os\nos.environ['SPARK_SIDECAR_SCALE'] = 'small'")
    assert status == "error"
    assert "needs executors with a GPU" in shown
    assert "set SPARK_SIDECAR_SCALE=small" in shown
    assert "Traceback" not in shown
