"""``wordgaze doctor``: finds, and mends, what a kill or a fault of the disk has left of a project's own files."""

from typing import Annotated

import typer

from wordgaze.cli.project import PANEL
from wordgaze.core.errors import WordgazeError

app = typer.Typer()


@app.command(rich_help_panel=PANEL)
def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Mend what is damaged. Damaged files are kept.")] = False,
) -> None:
    """Check dvc.lock and the MLflow database for damage, as after a power loss, and mend them with --fix."""
    faults = [fault for fault in (_check_lock(fix), _check_database(fix)) if fault]
    if faults:
        raise WordgazeError("; ".join([*faults, "run `wordgaze doctor --fix`"]))
    typer.echo("dvc.lock and the MLflow database are sound")


def _check_lock(fix: bool) -> str:
    """The fault of dvc.lock that is left, "" if there is none."""
    from wordgaze.inspection.dvc_lock import LOCK, mend_lock, read_lock_fault

    fault = read_lock_fault()
    if fault and fix:
        typer.echo(f"{LOCK} was damaged ({fault}): {mend_lock()}")
        return ""
    return f"{LOCK} is damaged ({fault})" if fault else ""


def _check_database(fix: bool) -> str:
    from wordgaze.tracking.doctor import check_database, mend_database

    fault = check_database()
    if fault and fix:
        typer.echo(mend_database())
        return ""
    return fault
