"""What the server answers: captions in batches, one sentence for what is refused, and its state for those who watch."""

import asyncio
import base64
import json
import threading
import time
from dataclasses import replace
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from tests.serving.conftest import Client, Served, encoded
from wordgaze.generation.config import GenerationConfig
from wordgaze.inference import deadline as deadlines
from wordgaze.inference import predictions
from wordgaze.serving import application
from wordgaze.serving.served_model import ServedModel
from wordgaze.serving.web_guard import GuardSettings


def sample(text: str, name: str, **labels: str) -> float:
    """The value of a metric."""
    [value] = [
        each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
        if each.name == name and labels.items() <= each.labels.items()
    ]
    return value


def test_concurrent_requests_share_batches_and_get_what_they_get_alone(serve_to: Served) -> None:
    images = [encoded(10 * number) for number in range(12)]

    async def together(client: Client) -> tuple[list[Any], str]:
        answers = await asyncio.gather(*(client.captions(image) for image in images))
        return [answer.json()["predictions"] for answer in answers], (await client.http.get("/metrics")).text

    async def one_by_one(client: Client) -> list[Any]:
        return [(await client.captions(image)).json()["predictions"] for image in images]

    batched, metrics = serve_to(together, max_wait=0.5)
    alone = serve_to(one_by_one, max_batch=1)
    assert [row["caption"] for [row] in batched] == [row["caption"] for [row] in alone]
    for [mine], [other] in zip(batched, alone, strict=True):
        assert mine["log_prob"] == pytest.approx(other["log_prob"], abs=1e-4)
    assert sample(metrics, "wordgaze_batch_size_sum") == 12
    assert sample(metrics, "wordgaze_batch_size_count") < 12
    assert sample(metrics, "wordgaze_requests_total", route="/invocations", status="200") == 12
    assert sample(metrics, "wordgaze_captions_total") == sample(metrics, "wordgaze_caption_probability_count") == 12
    assert sample(metrics, "wordgaze_requests_in_progress") == 1  # that for the metrics
    assert sample(metrics, "wordgaze_queue_length") == 0


def test_other_settings_and_a_broken_image_concern_their_own_request(serve_to: Served) -> None:
    async def ask(client: Client) -> list[httpx.Response]:
        return await asyncio.gather(
            client.captions(encoded(1)),
            client.captions(encoded(2), "SECRET" * 9),
            client.captions(encoded(3), force_words=["cat"]),
            client.captions(encoded(4), force_words=["zebra"]),
            client.captions(encoded(5), num_return_sequences=2),
        )

    plain, broken, forced, unknown, several = serve_to(ask, max_wait=0.5)
    assert [answer.status_code for answer in (plain, broken, forced, unknown, several)] == [200, 400, 200, 400, 200]
    assert "picture 2: is not" in broken.json()["message"]
    assert "SECRET" not in broken.text
    assert "cat" in forced.json()["predictions"][0]["caption"]
    assert "zebra" in unknown.json()["message"]
    assert len(several.json()["predictions"][0]["captions"]) == 2


def test_heavy_images_keep_nobody_waiting(serve_to: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    decode, decoding = predictions.decode_safely, threading.Lock()

    def slow(source: Any) -> Any:
        assert not decoding.locked(), "two heavy images of a request are decoded at once"
        with decoding:
            time.sleep(0.3)
            return decode(source)

    monkeypatch.setattr(predictions, "decode_safely", slow)
    file = BytesIO()
    Image.new("RGB", (3000, 3000)).save(file, "PNG")
    heavy = base64.b64encode(file.getvalue()).decode()

    async def ask(client: Client) -> tuple[bool, httpx.Response, httpx.Response]:
        attack = asyncio.ensure_future(client.captions(*[heavy] * 12))
        await asyncio.sleep(0.2)
        answer = await client.captions(encoded(1))
        return attack.done(), answer, await attack

    is_late, answer, of_heavy = serve_to(ask)
    assert not is_late
    assert answer.status_code == 200
    assert (of_heavy.status_code, len(of_heavy.json()["predictions"])) == (200, 12)


def test_a_failing_batch_is_captioned_one_by_one(
    serve_to: Served, served_model: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, sizes = served_model.captioner.encode, []

    def fails_for_several(pixels: Any) -> Any:
        sizes.append(len(pixels))
        if len(pixels) > 1:
            raise RuntimeError("out of memory")
        return encode(pixels)

    monkeypatch.setattr(served_model.captioner, "encode", fails_for_several)

    async def ask(client: Client) -> httpx.Response:
        return await client.captions(encoded(1), encoded(2))

    assert serve_to(ask).status_code == 200
    assert sizes == [2, 1, 1]


def test_a_request_has_a_time_and_then_its_search_ends(
    serve_to: Served, served_model: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = served_model.captioner.decoder.step

    def step(*given: Any) -> Any:
        time.sleep(0.05)
        return slow(*given)

    monkeypatch.setattr(served_model.captioner.decoder, "step", step)

    async def ask(client: Client) -> tuple[httpx.Response, float, httpx.Response]:
        started = time.perf_counter()
        late = await client.captions(encoded(1), max_new_tokens=200, min_new_tokens=200)
        seconds = time.perf_counter() - started
        return late, seconds, await client.captions(encoded(1), max_new_tokens=1)

    late, seconds, next_one = serve_to(ask, request_timeout=0.5)
    assert (late.status_code, late.json()["error_code"]) == (504, "DEADLINE_EXCEEDED")
    assert "took longer than the 0.5 seconds allowed" in late.json()["message"]
    assert seconds < 5  # 200 steps take 10
    assert next_one.status_code == 200  # the search did not go on for 10 seconds


def test_the_search_ends_when_the_client_leaves(
    serve_to: Served, served_model: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, steps = served_model.captioner.decoder.step, []

    def step(*given: Any) -> Any:
        steps.append(1)
        time.sleep(0.02)
        return slow(*given)

    monkeypatch.setattr(served_model.captioner.decoder, "step", step)

    async def ask(client: Client) -> int:
        body = json.dumps(
            {"instances": [encoded(1)], "params": {"max_new_tokens": 200, "min_new_tokens": 200}}
        ).encode()
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> Any:
            if (message := next(messages, None)) is not None:
                return message
            while not steps:
                await asyncio.sleep(0.01)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            pass

        scope = {
            "type": "http", "method": "POST", "path": "/invocations", "query_string": b"", "http_version": "1.1",
            "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        }  # fmt: skip
        await client.http._transport.app(scope, receive, send)  # type: ignore[attr-defined]
        assert (await client.captions(encoded(1), max_new_tokens=1)).status_code == 200
        return client.server.requests.num_accepted

    assert serve_to(ask) == 0
    assert len(steps) < 100


def test_a_full_server_says_when_to_come_again(serve_to: Served) -> None:
    async def ask(client: Client) -> tuple[list[httpx.Response], httpx.Response, httpx.Response]:
        answers = await asyncio.gather(*(client.captions(encoded(number), encoded(0)) for number in range(8)))
        return answers, await client.http.get("/ready"), await client.captions(encoded(1))

    answers, ready, later = serve_to(ask, max_queue=3)
    refused = [answer for answer in answers if answer.status_code != 200]
    assert {answer.status_code for answer in refused} == {503}
    assert {answer.headers["retry-after"] for answer in refused} == {"2"}
    assert "pictures are waiting already" in refused[0].json()["message"]
    assert len(refused) < 8
    assert (ready.status_code, later.status_code) == (200, 200)


def test_the_bodies_of_all_requests_together_are_bounded(serve_to: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "MAX_HELD", 1000)

    async def ask(client: Client) -> list[int]:
        large, small = "x" * 2000, encoded(1)
        return [(await client.captions(image)).status_code for image in (large, small, large, small)]

    assert serve_to(ask) == [503, 200, 503, 200]


def test_what_the_watchers_of_a_server_ask(serve_to: Served, served_model: ServedModel) -> None:
    async def ask(client: Client) -> dict[str, httpx.Response]:
        found = {path: await client.http.get(path) for path in ("/health", "/ready", "/ping", "/version", "/nothing")}
        client.server.is_stopping = True
        return found | {"stopping": await client.http.get("/ready"), "alive": await client.http.get("/health")}

    found = serve_to(ask)
    assert {name: answer.status_code for name, answer in found.items()} == {
        "/health": 200, "/ready": 200, "/ping": 200, "/version": 200, "/nothing": 404, "stopping": 503, "alive": 200,
    }  # fmt: skip
    about = found["/version"].json()
    assert about["model"] == {"name": "tiny", "version": served_model.weights[:12], "weights": served_model.weights}
    assert found["/ping"].text == "\n"


def test_the_password_is_for_all_but_the_watchers(serve_to: Served) -> None:
    async def ask(client: Client) -> list[int]:
        open_paths = [(await client.http.get(path)).status_code for path in ("/health", "/ready", "/metrics")]
        return [*open_paths, (await client.captions(encoded(1))).status_code]

    assert serve_to(ask, guard=GuardSettings(password="me:secret")) == [200, 200, 401, 401]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"num_return_sequences": 1000, "strategy": "sample"}, "captions of 20 words cost more than a request may"),
        ({"temperature": 1e-320, "strategy": "sample"}, "1e-320 is not a valid temperature"),
        ({"num_beams": None}, "num_beams must be an integer, not null"),
        ({"seed": 1.5}, "seed is not an integer of 64 bits"),
        ({"seed": 2**70}, "seed is not an integer of 64 bits"),
        ({"attention": "yes"}, "attention is not true or false"),
        ({"beam_width": 3}, "beam_width: not a valid parameter; valid are attention"),
        ({"bad_words": "x" * 10_000}, "bad_words"),
    ],
)
def test_settings_that_cannot_be_used_are_one_sentence(serve_to: Served, params: dict[str, Any], message: str) -> None:
    async def ask(client: Client) -> httpx.Response:
        return await client.captions(encoded(1), **params)

    answer = serve_to(ask)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert message in answer.json()["message"]
    assert len(answer.text) < 1000


def test_the_log_has_a_line_for_each_request_and_caption(serve_to: Served, capsys: pytest.CaptureFixture[str]) -> None:
    async def ask(client: Client) -> None:
        body = {"instances": [encoded(1), encoded(2)]}
        await client.http.post("/invocations", json=body, headers={"X-Request-ID": "mine-7"})
        await client.http.post("/invocations", json={"instances": ["SECRET"]}, headers={"X-Request-ID": "\x1b[31m"})
        await client.http.get("/health")

    serve_to(ask, log_format="json")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["request", "caption", "caption", "request"]
    first, caption, _, refused = lines
    assert first.items() >= {
        "request_id": "mine-7", "route": "/invocations", "status": 200, "pictures": 2, "batch": 2,
    }.items()  # fmt: skip
    assert first["milliseconds"] > 0
    assert caption["request_id"] == "mine-7"
    assert caption["caption"]
    assert 0 < caption["probability"] <= 1
    assert (refused["status"], len(refused["request_id"])) == (400, 32)
    assert "SECRET" not in json.dumps(lines)

    serve_to(ask, log_format="plain")
    plain = capsys.readouterr().out.splitlines()
    assert len(plain) == 4
    assert "route=/invocations status=200" in plain[0]


def test_the_open_inference_protocol(serve_to: Served) -> None:
    def tensor(**changes: Any) -> dict[str, Any]:
        image = {"name": "image", "shape": [2], "datatype": "BYTES", "data": [encoded(1), encoded(2)]} | changes
        return {"id": "7", "inputs": [image], "parameters": {"strategy": "greedy"}}

    async def ask(client: Client) -> list[httpx.Response]:
        infer = "/v2/models/captioner/infer"
        wrong: list[dict[str, Any]] = [
            {"inputs": []}, tensor(shape=[3]), tensor(datatype="FP32"), tensor() | {"parameters": 3}
        ]  # fmt: skip
        return [
            await client.http.get("/v2/health/live"),
            await client.http.get("/v2/health/ready"),
            await client.http.get("/v2/models/captioner/ready"),
            await client.http.get("/v2/models/captioner"),
            await client.http.post(infer, json=tensor()),
            await client.captions(encoded(1), encoded(2), strategy="greedy"),
            *[await client.http.post(infer, json=body) for body in wrong],
        ]

    live, ready, model_ready, about, inferred, invoked, *wrong = serve_to(ask)
    assert [each.status_code for each in (live, ready, model_ready, about, inferred)] == [200] * 5
    assert [each.status_code for each in wrong] == [400] * 4
    assert about.json()["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
    outputs = {output["name"]: output for output in inferred.json()["outputs"]}
    assert inferred.json()["id"] == "7"
    assert outputs["caption"] == {
        "name": "caption", "datatype": "BYTES", "shape": [2],
        "data": [row["caption"] for row in invoked.json()["predictions"]],
    }  # fmt: skip
    assert outputs["probability"]["data"] == pytest.approx([r["probability"] for r in invoked.json()["predictions"]])


def test_an_image_unlike_those_of_the_training_is_marked_in_every_protocol(
    serve_to: Served, served_model: ServedModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    generate = served_model.captioner.generate

    def marked(*args: Any, **kwargs: Any) -> Any:
        captions = generate(*args, **kwargs)
        return [[replace(each, confidence=0.5, is_outlier=True) for each in of_image] for of_image in captions]

    monkeypatch.setattr(served_model.captioner, "generate", marked)
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [encoded(1)]}

    async def ask(client: Client) -> list[httpx.Response]:
        infer = await client.http.post("/v2/models/captioner/infer", json={"inputs": [tensor]})
        return [await client.captions(encoded(1)), infer]

    invoked, inferred = (answer.json() for answer in serve_to(ask, log_format="json"))
    assert invoked["predictions"][0]["is_outlier"] is True
    assert inferred["outputs"][-1] == {"name": "is_outlier", "datatype": "BOOL", "shape": [1], "data": [True]}
    assert '"is_outlier": true' in capsys.readouterr().out


def test_the_defaults_are_the_models_own(served_model: ServedModel) -> None:
    assert served_model.generation == GenerationConfig()
    assert deadlines.Deadline(1).remaining > 0
