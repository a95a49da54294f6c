"""The library imports and works where the packages of the extras are not installed."""

import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"
EXTRAS = ("dvc", "mlflow", "great_expectations", "pandas", "nltk", "pyarrow", "gradio", "tokenizers", "sentencepiece")

CODE = f"""
import sys
sys.path.insert(0, sys.argv[1])
sys.modules.update(dict.fromkeys({EXTRAS!r}))  # None: an import of it raises ModuleNotFoundError
import importlib, pkgutil
import wordgaze.generation, wordgaze.metrics, wordgaze.models, wordgaze.text
for room in (wordgaze.generation, wordgaze.metrics, wordgaze.models, wordgaze.text):
    for module in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
        importlib.import_module(module.name)
from wordgaze.metrics.captions import score_captions
from wordgaze.text.word_vectors import read_vectors
print(sorted(score_captions([["a", "dog"]], [[["a", "dog"], ["dog"]]])))
try:
    read_vectors("glove-6b-50d", ["dog"])
except Exception as error:
    print(error)
"""


def test_captions_are_scored_and_a_missing_extra_is_named() -> None:
    done = subprocess.run([sys.executable, "-c", CODE, str(SOURCE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    scores, vectors = done.stdout.splitlines()
    assert scores == "['bleu_1', 'bleu_2', 'bleu_3', 'bleu_4', 'cider', 'rouge_l']"
    assert vectors == (
        'model.word_vectors: glove-6b-50d needs pyarrow, which is not installed; run pip install "wordgaze[pipeline]"'
    )
