import base64
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from wordgaze.captioner import Captioner
from wordgaze.decoding.base import Caption
from wordgaze.errors import ImageError, ModelError
from wordgaze.params import DecodeParams
from wordgaze.tracking.package import log_captioner
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


def said(captioner: Path, picture: Path, decode: DecodeParams) -> Caption:
    """What the captioner says of the picture without MLflow."""
    return Captioner.load(captioner).caption([load_image(picture)], decode)[0][0]


def test_the_packaged_captioner_predicts_where_wordgaze_is_not_installed(
    project: Path, captioner: Path, white_picture: Path
) -> None:
    from mlflow.models import Model

    path = sys.path.copy()
    with stage_run("evaluate", {}) as run:
        uri = log_captioner(run, captioner, white_picture, {"test/beam/cider": 0.5}, DecodeParams(beam_width=7))
        assert run.client.get_run(run.run_id).info.status == "RUNNING"
    assert sys.path == path
    logged = run.client.get_logged_model(uri.removeprefix("models:/"))
    assert logged.source_run_id == run.run_id
    assert {metric.key: metric.value for metric in logged.metrics or []} == {"test/beam/cider": 0.5}
    assert run.client.get_run(run.run_id).data.metrics == {"test/beam/cider": 0.5}
    folder = project / "mlartifacts" / "models" / logged.model_id / "artifacts"

    clean = [sys.executable, "-I", "-B", "-c", CLEAN, str(folder), str(white_picture)]
    done = subprocess.run(clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    best = said(captioner, white_picture, DecodeParams(strategy="greedy"))
    [row] = json.loads(done.stdout)
    assert row["caption"] == best.text
    assert (row["log_prob"], row["score"]) == pytest.approx((best.log_prob, best.score), abs=1e-5)

    names = {path.name for path in folder.rglob("*")}
    assert "served.py" in names
    assert not {name for name in names if name.endswith((".pkl", ".pickle", ".pyc"))}
    requirements = (folder / "requirements.txt").read_text()
    assert all(f"{name}==" in requirements for name in ("torch", "timm", "mlflow"))
    assert "+" not in requirements
    signature = Model.load(folder).signature.to_dict()
    assert json.loads(signature["inputs"]) == [{"type": "string", "name": "image", "required": True}]
    assert [column["name"] for column in json.loads(signature["outputs"])] == ["caption", "log_prob", "score"]
    defaults = DecodeParams(beam_width=7).model_dump(mode="json", exclude={"num"})
    assert {p["name"]: p["default"] for p in json.loads(signature["params"])} == defaults


def test_pictures_come_as_paths_or_as_base64_in_a_table_or_a_list(
    project: Path, captioner: Path, white_picture: Path
) -> None:
    import mlflow

    with stage_run("evaluate", {}) as run:
        model = mlflow.pyfunc.load_model(log_captioner(run, captioner, white_picture, {}))
    encoded = base64.b64encode(white_picture.read_bytes()).decode()
    table = model.predict(pd.DataFrame({"image": [str(white_picture), encoded]}))
    best = said(captioner, white_picture, DecodeParams())
    assert list(table["caption"]) == [best.text] * 2
    assert list(table["score"]) == pytest.approx([best.score] * 2, abs=1e-5)
    short = model.predict([{"image": encoded}], params={"max_length": 1, "length_penalty": 0.0, "beam_width": 2})
    told = model.predict([{"image": encoded}], params={"required": ["sleeps"], "max_length": 4})
    best = said(captioner, white_picture, DecodeParams(max_length=1, length_penalty=0.0, beam_width=2))
    assert (short["caption"][0], short["score"][0]) == (best.text, pytest.approx(best.score, abs=1e-5))
    assert "sleeps" in told["caption"][0].split()
    with pytest.raises(ImageError, match="neither a file here nor base64"):
        model.predict([{"image": "no-such-picture.png"}])


def test_a_captioner_that_fails_is_not_packaged_in_silence(project: Path, captioner: Path, white_picture: Path) -> None:
    (captioner / "captioner.json").write_text("{}")
    with pytest.raises(ModelError, match="has format None"), stage_run("evaluate", {}) as run:
        log_captioner(run, captioner, white_picture, {})
    assert run.client.get_run(run.run_id).info.status == "FAILED"
