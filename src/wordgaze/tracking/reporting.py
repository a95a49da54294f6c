"""What every stage logs the same way."""

from typing import TYPE_CHECKING

from wordgaze.core.leftovers import temporary_folder
from wordgaze.tracking.runs import StageRun

if TYPE_CHECKING:
    from wordgaze.data.contracts import ContractReport


def log_contract(tracked: StageRun, report: "ContractReport") -> None:
    """Logs the Data Docs page of a contract. It carries times, so it is MLflow's and never DVC's."""
    with temporary_folder() as folder:
        tracked.artifact(report.data_docs(folder), "contracts")
