"""Every notebook from the bytes that users get, at small scale, on a real cluster with real servers.

What a notebook claims at its end is an assertion in it: a claim that fails, fails its cell.
"""

from __future__ import annotations

import ast

import pytest

from integration.notebooks.conftest import ask, notebook_files
from server_utils.environments.lock_files import vllm_fits
from server_utils.notebooks import catalogue, sealed_call
from server_utils.notebooks.catalogue import Scale

pytestmark = pytest.mark.notebook
# No notebook sees what another one has made. Not by %reset, which takes `__spec__` from the module as well.
FORGET = (
    "for name in [*globals()]:\n    if name not in {'In', 'Out', 'get_ipython'} and name[0] != '_': del globals()[name]"
)
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
NAMES = [pytest.param(name, id=name) for name in catalogue.every()]


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
    assert ask(kernel, FORGET)[0] == "ok"
    done = notebook_files.execute(notebook_files.made(facts), kernel=kernel, folder=tmp_path)
    outputs = [output for cell in done.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [set(output.get("data", {})) for output in outputs]
    assert any("image/png" in each for each in shown), "a notebook ends with a picture"
    assert any("text/markdown" in each for each in shown), "and with a table"


def function_of(facts, name):
    """A function that a notebook defines."""
    defined = next(
        each for each in ast.parse(notebook_files.source(facts).read_text()).body if getattr(each, "name", "") == name
    )
    scope = {"__name__": "__main__"}
    exec(compile(ast.Module([defined], []), "a notebook", "exec"), scope)  # noqa: S102 - of this repository
    return scope[name]


def test_the_full_translation_model_answers_a_text_alike_whatever_is_beside_it(tmp_path):
    translator = function_of(catalogue.facts("translation"), "translator")

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
