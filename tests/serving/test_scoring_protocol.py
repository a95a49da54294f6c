"""The server's answers are those of MLflow's own server for the packaged model, in each form of a request."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serving.conftest import Client, Served, encoded
from wordgaze.core.errors import ParamsError
from wordgaze.serving.scoring_protocol import parse_invocation, read_request
from wordgaze.tracking.package import save_packaged
from wordgaze.tracking.store import translate_errors

IMAGES = [encoded(1), encoded(2)]
BODIES: list[dict[str, Any]] = [
    {"dataframe_records": [{"image": image} for image in IMAGES]},
    {"dataframe_split": {"columns": ["image"], "data": [[image] for image in IMAGES]}},
    {"instances": [{"image": image} for image in IMAGES]},
    {"inputs": {"image": IMAGES}},
    {"dataframe_records": [{"image": IMAGES[0]}], "params": {"strategy": "greedy", "attention": True, "seed": 3}},
    {"dataframe_records": [{"image": IMAGES[0]}], "params": {"num_return_sequences": 2, "temperature": 2}},
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["image", "columns", "data"]), inner),
    max_leaves=6,
)


def test_it_answers_as_mlflow_does(
    tmp_path: Path, write_captioner: Callable[..., Path], serve_to: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    with translate_errors("import it"):  # MLflow warns about its own code
        from mlflow.pyfunc import load_model, scoring_server

    save_packaged(tmp_path / "packaged", write_captioner(tmp_path / "captioner"))
    model = load_model(str(tmp_path / "packaged"), suppress_warnings=True)
    schema = model.metadata.get_input_schema()

    async def ask(client: Client) -> list[Any]:
        return [(await client.http.post("/invocations", json=body)).json() for body in BODIES]

    for body, answer in zip(BODIES, serve_to(ask), strict=True):
        mlflows = scoring_server.invocations(json.dumps(body).encode(), "application/json", model, schema)
        expected = json.loads(mlflows.response)["predictions"]
        assert len(answer["predictions"]) == len(expected)
        for mine, other in zip(answer["predictions"], expected, strict=True):
            assert mine.keys() == other.keys()
            assert (mine["caption"], mine["words"]) == (other["caption"], other["words"])
            assert mine["word_log_probs"] == pytest.approx(other["word_log_probs"], abs=1e-4)
            assert [c["caption"] for c in mine.get("captions", ())] == [c["caption"] for c in other.get("captions", ())]


@settings(max_examples=150)
@given(st.sampled_from(["dataframe_records", "dataframe_split", "instances", "inputs", "params", "x"]), JSON)
def test_any_json_is_read_or_refused(key: str, value: object) -> None:
    body = json.dumps({key: value, "params": value} if key == "params" else {key: value}).encode()
    try:
        images, params = parse_invocation(read_request(body))
    except ParamsError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 300
    else:
        assert isinstance(images, list) and isinstance(params, dict)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        read_request(body)
    except ParamsError as error:
        assert len(str(error)) < 300


@pytest.mark.parametrize(
    "body", [b'{"a": Infinity}', b'{"a": -Infinity}', b'{"a": NaN}', b'{"a": 1e999}', b"[" * 99999, b'{"a": ' + b"9" * 9999 + b"}"]
)  # fmt: skip
def test_numbers_that_are_not_finite_and_depth_are_refused(body: bytes) -> None:
    with pytest.raises(ParamsError, match="not valid JSON"):
        read_request(body)
