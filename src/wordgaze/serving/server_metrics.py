"""What ``/metrics`` tells Prometheus."""

from collections.abc import Callable, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from wordgaze.generation.outputs import Caption
from wordgaze.serving.served_model import ServedModel

ABSTAIN_BELOW = 0.5
"""A caption whose confidence is below is more probably wrong than right. It counts as an abstention."""

_SHARES = tuple(tenth / 10 for tenth in range(1, 11))
_PROBABILITIES = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0)
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SIZES = (1, 2, 4, 8, 16, 32)


class ServerMetrics:
    """The metrics of one server, in a registry of their own. ``queue_length`` is asked when they are read."""

    def __init__(self, model: ServedModel, version: str, queue_length: Callable[[], float]) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        about = Info("wordgaze_model", "The captioner that answers.", registry=registry)
        about.info({"wordgaze": version, "name": model.name, "version": model.version, "weights": model.weights})
        self.requests = Counter(
            "wordgaze_requests", "Requests by route and HTTP status.", ["route", "status"], registry=registry
        )
        self.duration = Histogram(
            "wordgaze_request_duration_seconds",
            "The time of a request, until its answer is complete.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.in_progress = Gauge("wordgaze_requests_in_progress", "Requests without an answer yet.", registry=registry)
        waiting = Gauge("wordgaze_queue_length", "Images that wait for a batch.", registry=registry)
        waiting.set_function(queue_length)
        self.batch_size = Histogram("wordgaze_batch_size", "Images of a batch.", buckets=_SIZES, registry=registry)
        self.batch_duration = Histogram(
            "wordgaze_batch_duration_seconds", "The time of a batch.", buckets=_SECONDS, registry=registry
        )
        self.probability = Histogram(
            "wordgaze_caption_probability",
            "The probability of the best caption of an image.",
            buckets=_PROBABILITIES,
            registry=registry,
        )
        self.confidence = Histogram(
            "wordgaze_caption_confidence",
            "The confidence of the best caption of an image, of captioners that have one.",
            buckets=_SHARES,
            registry=registry,
        )
        self.captions = Counter("wordgaze_captions", "Captioned images.", registry=registry)
        self.abstentions = Counter(
            "wordgaze_abstentions", f"Captioned images with a confidence below {ABSTAIN_BELOW}.", registry=registry
        )
        self.share = Gauge(
            "wordgaze_abstention_share", "Abstentions divided by captioned images, since the start.", registry=registry
        )
        self._num_captions = self._num_abstentions = 0

    def observe_captions(self, best: Sequence[Caption]) -> None:
        """Counts the best captions of the images of a request."""
        for caption in best:
            self.captions.inc()
            self.probability.observe(caption.probability)
            self._num_captions += 1
            if caption.confidence is not None:
                self.confidence.observe(caption.confidence)
                if caption.confidence < ABSTAIN_BELOW:
                    self.abstentions.inc()
                    self._num_abstentions += 1
            self.share.set(self._num_abstentions / self._num_captions)

    def text(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        return generate_latest(self.registry)
