"""Traces: a span of each request, and of each batch with a link to its requests."""

import asyncio

import pytest

from tests.serving.conftest import Client, Served, encoded
from wordgaze.core.errors import ParamsError
from wordgaze.serving import application, telemetry

pytest.importorskip("opentelemetry.sdk", reason='the extra "telemetry" is not installed')


def test_requests_and_batches_are_traced(serve_to: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    monkeypatch.setattr(application, "open_telemetry", lambda: telemetry.Telemetry(exporter))

    async def ask(client: Client) -> None:
        await asyncio.gather(*(client.captions(encoded(number)) for number in range(3)))
        await client.http.get("/health")

    serve_to(ask, max_wait=0.5)
    spans = exporter.get_finished_spans()
    requests = {span.context.span_id for span in spans if span.name == "POST /invocations"}
    batches = [span for span in spans if span.name == "caption batch"]
    assert len(requests) == 3
    assert len(spans) == 3 + len(batches)
    assert {link.context.span_id for span in batches for link in span.links} == requests
    assert sum(int(str(span.attributes["wordgaze.batch_size"])) for span in batches if span.attributes) == 3


def test_the_environment_asks_for_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    assert telemetry.open_telemetry() is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    opened = telemetry.open_telemetry()
    assert opened is not None
    opened.close()
    monkeypatch.setattr(telemetry, "find_spec", lambda name: None)
    with pytest.raises(ParamsError, match=r"need pip install .wordgaze\[telemetry\]"):
        telemetry.open_telemetry()
