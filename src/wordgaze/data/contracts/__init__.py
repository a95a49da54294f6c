"""Contracts for the tables between stages: expectations in YAML, validated with great-expectations.

A contract is ``NAME.yaml`` beside this module: a ``description``, and a list ``expectations`` whose entries are
``NAME: {ARGUMENTS}``, where NAME is an expectation of great-expectations without its leading ``expect_``. An argument
may be ``{$PARAMETER: EXPRESSION}`` over ``rows``, the number of rows of the table.

great-expectations takes seconds to import, so it is only imported when a contract is checked. It runs in memory,
without a project folder, progress bars or network access.
"""

import difflib
import gc
import math
import textwrap
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from wordgaze.core.errors import ContractError
from wordgaze.core.files import stable_json, write_text
from wordgaze.data.contracts.parts import OF_ROW, MergedValidation, WholeColumns

if TYPE_CHECKING:
    import pandas
    from great_expectations.core import ExpectationSuiteValidationResult
    from great_expectations.expectations.expectation import Expectation

CONTRACTS = Path(__file__).parent
SHOWN_ROWS = 3
_WIDTH = 40
OBSERVED = ("element_count", "unexpected_count", "missing_count", "observed_value")

Entry = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class ContractReport:
    """The result of a successful check.

    ``expectations`` has one mapping for each entry of the contract, in its order: ``expectation``, ``arguments``,
    ``success``, ``observed``. In ``observed``, ``element_count`` is the number of rows that were checked.
    """

    name: str
    rows: int
    expectations: tuple[dict[str, Any], ...]
    validation: "ExpectationSuiteValidationResult" = field(repr=False, compare=False)

    def to_json(self) -> str:
        """JSON text that ends with a newline, without times and ids, so that equal tables give equal bytes."""
        return stable_json({"name": self.name, "rows": self.rows, "expectations": self.expectations}) + "\n"

    def data_docs(self, folder: Path) -> Path:
        """Writes the Data Docs page of this check to ``folder/NAME.html`` and returns that path.

        The page contains the time of the check, so it must not become a DVC output. Its text is complete; a browser
        with network access loads the style sheets from public servers.
        """
        from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
        from great_expectations.render.view.view import DefaultJinjaPageView

        page = folder / f"{self.name}.html"
        view: Any = DefaultJinjaPageView()  # untyped in great-expectations
        write_text(page, view.render(ValidationResultsPageRenderer().render(self.validation)))
        return page


def check(name: str, table: "pandas.DataFrame", folder: Path = CONTRACTS) -> ContractReport:
    """Checks ``table`` against the contract ``folder/NAME.yaml``; rows are numbered from 0 in the order given.

    Raises ContractError if the contract is invalid, if the table has no rows or lacks a column of the contract, and if
    expectations are violated: the message lists all of them, with the first violating rows.
    """
    return _check(name, [table], folder, lambda _: True)


def check_parts(name: str, parts: "Iterable[pandas.DataFrame]", folder: Path = CONTRACTS) -> ContractReport:
    """As :func:`check`, of a table that is too large for the memory and comes in parts, with the same report.

    Expectations that are about a row alone are checked part by part. For the others, such as uniqueness, the columns
    that they name are held as a whole.
    """
    return _check(name, parts, folder, _is_of_row)


def _check(
    name: str, parts: "Iterable[pandas.DataFrame]", folder: Path, is_of_part: Callable[[Entry], bool]
) -> ContractReport:
    file = folder / f"{name}.yaml"
    entries = _read(file)
    expectations = [_expectation(file, number, entry) for number, entry in enumerate(entries, start=1)]
    of_part = [each for each, entry in zip(expectations, entries, strict=True) if is_of_part(entry)]
    of_all = [each for each, entry in zip(expectations, entries, strict=True) if not is_of_part(entry)]
    columns = sorted(_columns([entry for entry in entries if not is_of_part(entry)]))
    merged, whole = MergedValidation(SHOWN_ROWS), WholeColumns(columns)
    for part in parts:
        if len(part):
            _require_columns(file, entries, part)
            numbered = part.reset_index(drop=True)
            merged.add(_validate(name, numbered, file, of_part), numbered)
            whole.add(part)
            gc.collect()  # great-expectations refers to the table in cycles, which would wait for their collection
    if not merged.rows:
        raise ContractError(f"{file}: the table has 0 rows; find out why the stage wrote none, and run it again")
    if of_all:
        table = whole.table()
        merged.join(_validate(name, table, file, of_all), table)
    return _report(name, file, entries, merged)


def _is_of_row(entry: Entry) -> bool:
    """Whether an expectation is about a row alone. One with a parameter is about the number of all rows."""
    name, arguments = entry
    return name in OF_ROW and not any(isinstance(value, dict) and "$PARAMETER" in value for value in arguments.values())


def _require_columns(file: Path, entries: list[Entry], table: "pandas.DataFrame") -> None:
    missing = sorted(_columns(entries) - set(table.columns))
    if missing:
        raise ContractError(
            f"{file}: the table has no column {', '.join(missing)}, only {', '.join(map(str, table.columns))}; "
            "make the stage write it, or change the contract"
        )


def _report(name: str, file: Path, entries: list[Entry], merged: MergedValidation) -> ContractReport:
    validation = merged.validation()
    results = _in_order(validation)
    report = ContractReport(name, merged.rows, tuple(map(_outcome, entries, results)), validation)
    violations = [
        _violation(outcome, result, merged)
        for outcome, result in zip(report.expectations, results, strict=True)
        if not outcome["success"]
    ]
    if violations:
        raise ContractError(
            f"{file} is violated: {'; '.join(violations)}; correct what wrote the table and run its stage again, "
            "or change the contract if the table is right"
        )
    return report


def _read(file: Path) -> list[Entry]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        contract = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        known = ", ".join(sorted(path.stem for path in file.parent.glob("*.yaml"))) or "none"
        raise ContractError(f"{file} does not exist; the contracts in {file.parent} are: {known}") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise ContractError(f"{file} is not YAML: {_line(error)}; correct it there") from error
    if not isinstance(contract, dict) or set(contract) != {"description", "expectations"}:
        raise ContractError(f"{file} must have a description and expectations, and nothing else")
    if not isinstance(contract["expectations"], list) or not contract["expectations"]:
        raise ContractError(f"{file}: expectations must be a list of one or more NAME: {{ARGUMENTS}}")
    return [_entry(file, number, entry) for number, entry in enumerate(contract["expectations"], start=1)]


def _entry(file: Path, number: int, entry: Any) -> Entry:
    if isinstance(entry, dict) and len(entry) == 1:
        [(name, arguments)] = entry.items()
        if isinstance(name, str) and isinstance(arguments, dict):
            return name, arguments
    raise ContractError(f"{file}: expectation {number} is {_short(entry)}; write it as NAME: {{ARGUMENTS}}")


def _expectation(file: Path, number: int, entry: Entry) -> "Expectation":
    name, arguments = entry
    gx = _great_expectations()
    from great_expectations.expectations.registry import (
        get_expectation_impl,
        list_registered_expectation_implementations,
    )

    try:
        return get_expectation_impl(f"expect_{name}")(**arguments, meta={"number": number})
    except gx.exceptions.ExpectationNotFoundError as error:
        known = [every.removeprefix("expect_") for every in list_registered_expectation_implementations()]
        close = ", ".join(difflib.get_close_matches(name, known)) or "see the gallery of great-expectations"
        raise ContractError(
            f"{file}: expectation {number}, {name}, is not one of great-expectations; did you mean: {close}"
        ) from error
    except (TypeError, ValueError) as error:
        raise ContractError(
            f"{file}: expectation {number}, {_call(name, arguments)}, has wrong arguments: {_line(error)}; "
            "correct them there"
        ) from error


def _columns(entries: list[Entry]) -> set[str]:
    single = {
        arguments[key] for _, arguments in entries for key in ("column", "column_A", "column_B") if key in arguments
    }
    return single.union(*(arguments.get("column_list", []) for _, arguments in entries))


def _validate(
    name: str, table: "pandas.DataFrame", file: Path, expectations: "list[Expectation]"
) -> "ExpectationSuiteValidationResult":
    gx = _great_expectations()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("pipeline").add_dataframe_asset(name)
    batch = asset.add_batch_definition_whole_dataframe("all rows").get_batch({"dataframe": table})
    try:
        result: ExpectationSuiteValidationResult = batch.validate(
            gx.ExpectationSuite(name=name, expectations=expectations),
            result_format={"result_format": "COMPLETE", "partial_unexpected_count": SHOWN_ROWS},
            expectation_parameters={"rows": len(table)},
        )
    except gx.exceptions.GreatExpectationsError as error:
        raise ContractError(f"{file} cannot be checked: {_line(error)}; correct it there") from error
    return result


def _in_order(validation: "ExpectationSuiteValidationResult") -> list[dict[str, Any]]:
    """The results as plain values in the order of the contract; great-expectations returns another order."""
    results: list[dict[str, Any]] = [dict(result.to_json_dict()) for result in validation.results]
    return sorted(results, key=lambda result: int(result["expectation_config"]["meta"]["number"]))


def _outcome(entry: Entry, result: dict[str, Any]) -> dict[str, Any]:
    name, written = entry
    used = result["expectation_config"]["kwargs"]  # parameters filled in, arguments equal to their defaults left out
    observed = {key: result["result"][key] for key in OBSERVED if result["result"].get(key) is not None}
    return {
        "expectation": name,
        "arguments": {key: _plain(used.get(key, value)) for key, value in written.items()},
        "success": result["success"],
        "observed": observed,
    }


def _violation(outcome: dict[str, Any], result: dict[str, Any], merged: MergedValidation) -> str:
    call, details = _call(outcome["expectation"], outcome["arguments"]), result["result"]
    numbers = details.get("partial_unexpected_index_list")
    if numbers:
        rows = ", ".join(f"row {number} {_row(merged.row(number))}" for number in numbers)
        return f"{call} fails in {details['unexpected_count']} of {merged.rows} rows: {rows}"
    if not details:
        return f"{call} cannot be evaluated on {merged.rows} rows: {_exception(result['exception_info'])}"
    values = {
        "observed": details.get("observed_value"),
        "unexpected": details.get("partial_unexpected_list"),
        "missing": details.get("partial_missing_list"),
    }
    shown = ", ".join(f"{key} {value}" for key, value in values.items() if value not in (None, []))
    return f"{call} fails over {merged.rows} rows: {shown}"


def _row(values: dict[str, Any]) -> str:
    return "(" + ", ".join(f"{column}={_short(value)}" for column, value in values.items()) + ")"


def _exception(info: dict[str, Any]) -> str:
    """The message in an exception record of great-expectations, which is flat or nested by metric."""
    records = [info] if "exception_message" in info else info.values()
    return "; ".join(dict.fromkeys(_line(record["exception_message"]) for record in records))


def _call(name: str, arguments: dict[str, Any]) -> str:
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


def _plain(value: Any) -> Any:
    """Integers instead of integral floats: great-expectations converts every bound to float."""
    return int(value) if isinstance(value, float) and math.isfinite(value) and value.is_integer() else value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


def _line(error: object) -> str:
    return textwrap.shorten(str(error), 300, placeholder=" …")


def _great_expectations() -> ModuleType:
    """Imports great-expectations without the warnings about deprecated modules of the standard library."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"module 'sre_(constants|parse)' is deprecated", DeprecationWarning)
        import great_expectations
    return great_expectations
