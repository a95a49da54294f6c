"""Runs of processes that were killed: a process that receives SIGKILL cannot end its run itself."""

from typing import TYPE_CHECKING

from wordgaze.tracking.processes import HOST, has_ended, host

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def end_killed_runs(client: "MlflowClient", experiment: str) -> list[str]:
    """Marks the running runs of this machine whose process has ended as KILLED. Returns their names.

    A model that such a run was about to log is marked as failed. Runs of other machines are left alone: whether their
    process is there cannot be seen from here.
    """
    running = f"attributes.status = 'RUNNING' and tags.`{HOST}` = '{host()}'"
    killed = [run for run in client.search_runs([experiment], running) if has_ended(run.data.tags)]
    for run in killed:
        client.set_terminated(run.info.run_id, "KILLED")
        _fail_models(client, run)
    return [run.info.run_name for run in killed]


def _fail_models(client: "MlflowClient", run: "Run") -> None:
    for output in run.outputs.model_outputs if run.outputs else ():
        if str(client.get_logged_model(output.model_id).status) == "PENDING":
            client.finalize_logged_model(output.model_id, "FAILED")
