"""CPU, memory, disk, network and GPU while a stage runs, by MLflow's own monitor."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

SWITCH = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"
"""MLflow's variable, which turns the monitor off with ``false``."""
_INTERVAL = 10  # seconds, as MLflow has it


@contextmanager
def monitored(run_id: str) -> Iterator[None]:
    """Logs ``system/cpu_utilization_percentage`` and the like to a run every ten seconds, and once at the end.

    MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL sets another interval. A store that cannot be reached costs the run these
    metrics and nothing else. Call it where MLflow is set to the store.
    """
    if os.environ.get(SWITCH, "true").lower() in ("false", "0"):
        yield
        return
    from mlflow.exceptions import MlflowException
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run_id, _INTERVAL)  # type: ignore[no-untyped-call]
    for one in monitor.monitors:
        one.collect_metrics()  # type: ignore[no-untyped-call]  # the first use of the processor is that since the start of the machine, or zero
        one.clear_metrics()  # type: ignore[no-untyped-call]
    monitor.start()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        monitor.finish()  # type: ignore[no-untyped-call]
        with suppress(MlflowException):
            monitor.collect_metrics()  # type: ignore[no-untyped-call]
            monitor.publish_metrics(monitor.aggregate_metrics())  # type: ignore[no-untyped-call]
            monitor.mlflow_logger.flush()  # type: ignore[no-untyped-call]
