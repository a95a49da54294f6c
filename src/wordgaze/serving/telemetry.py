"""Traces by OpenTelemetry, where the extra ``telemetry`` is installed: a span of each request and of each batch.

Where they go is set by the environment variables of OpenTelemetry, such as OTEL_EXPORTER_OTLP_ENDPOINT and
OTEL_SERVICE_NAME. Without OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT nothing is traced.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING

from wordgaze.core.errors import ParamsError
from wordgaze.serving.server_metrics import ServerMetrics

if TYPE_CHECKING:
    from fastapi import FastAPI
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import SpanContext

    from wordgaze.serving.micro_batching import BatchItem

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_UNTRACED = "health,ready,metrics,ping"  # asked every few seconds


class Telemetry:
    """Traces an application: :meth:`trace` its requests, :meth:`batch` its batches; :meth:`close` sends the rest."""

    def __init__(self, exporter: "SpanExporter") -> None:
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        # Resource.create lets OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES have the last word.
        name = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: "wordgaze"}
        self._provider = TracerProvider(resource=Resource.create(name))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))

    def trace(self, app: "FastAPI") -> None:
        """Makes a span of each request."""
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

        FastAPIInstrumentor.instrument_app(
            app, tracer_provider=self._provider, excluded_urls=_UNTRACED, exclude_spans=["receive", "send"]
        )

    @contextmanager
    def batch(self, items: "Sequence[BatchItem]") -> Iterator[None]:
        """A span of a batch, with links to the spans of its requests."""
        from opentelemetry.trace import Link

        requests = {item.trace.span_id: item.trace for item in items if item.trace is not None}
        links = [Link(context) for context in requests.values()]
        attributes: dict[str, str | int] = {
            "wordgaze.batch_size": len(items),
            "wordgaze.strategy": items[0].config.strategy,
        }
        tracer = self._provider.get_tracer("wordgaze")
        with tracer.start_as_current_span("caption batch", links=links, attributes=attributes):
            yield

    def close(self) -> None:
        """Sends the spans that were not sent yet."""
        self._provider.shutdown()


def open_telemetry() -> Telemetry | None:
    """The telemetry that the environment asks for, or None. Raises ParamsError where the extra is not installed."""
    if not any(os.environ.get(name) for name in _ENDPOINTS) or os.environ.get("OTEL_SDK_DISABLED") == "true":
        return None
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.instrumentation") is None:
        raise ParamsError(
            f'{" or ".join(_ENDPOINTS)} asks for traces, which need pip install "wordgaze[telemetry]"; unset it'
        )
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return Telemetry(OTLPSpanExporter())


def current_span() -> "SpanContext | None":
    """The context of the current request's span, None without one."""
    if find_spec("opentelemetry") is None:
        return None
    from opentelemetry.trace import get_current_span

    context = get_current_span().get_span_context()
    return context if context.is_valid else None


def batch_observer(
    telemetry: Telemetry | None, metrics: ServerMetrics
) -> "Callable[[Sequence[BatchItem]], AbstractContextManager[None]]":
    """What :class:`wordgaze.serving.micro_batching.MicroBatcher` calls with each batch."""

    @contextmanager
    def observe(batch: "Sequence[BatchItem]") -> Iterator[None]:
        metrics.batch_size.observe(len(batch))
        with metrics.batch_duration.time(), telemetry.batch(batch) if telemetry else nullcontext():
            yield

    return observe
