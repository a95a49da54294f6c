"""CPU, memory, disk, network and GPU while a stage runs, by MLflow's own monitor."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from wordgaze.core.errors import TrackingError

if TYPE_CHECKING:
    from wordgaze.tracking.runs import StageRun

SWITCH = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"
"""MLflow's variable, which turns the monitor off with ``false``."""
_INTERVAL = 10  # seconds, as MLflow has it


@contextmanager
def monitored(run: "StageRun") -> Iterator[None]:
    """Logs ``system/cpu_utilization_percentage`` and the like to a run every ten seconds, and once at the end.

    MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL sets another interval. A store that cannot be reached costs the run these
    metrics and nothing else. Call it where MLflow is set to the store.
    """
    if os.environ.get(SWITCH, "true").lower() in ("false", "0"):
        yield
        return
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run.run_id, _INTERVAL)  # type: ignore[no-untyped-call]
    monitor.collect_metrics()  # type: ignore[no-untyped-call]  # the use of the processor is that since the last call
    monitor.start()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        monitor.finish()  # type: ignore[no-untyped-call]
        for one in monitor.monitors:
            one.clear_metrics()  # type: ignore[no-untyped-call]
        monitor.collect_metrics()  # type: ignore[no-untyped-call]
        last = {f"system/{name}": value for name, value in monitor.aggregate_metrics().items()}  # type: ignore[no-untyped-call]
        with suppress(TrackingError):  # by the run: MLflow's logger would take them for scores of the logged model
            run.metrics(last, monitor._logging_step)
