"""The result of a contract on a table that comes in parts: the results of the parts, put together."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import pandas

Validation: TypeAlias = Any
"""An ``ExpectationSuiteValidationResult`` of great-expectations, which :mod:`wordgaze.data.contracts` alone imports."""

ExpectationResult: TypeAlias = Any
"""An ``ExpectationValidationResult`` of great-expectations."""

OF_ROW = frozenset(
    {
        "column_pair_values_a_to_be_greater_than_b",
        "column_value_lengths_to_be_between",
        "column_values_to_be_between",
        "column_values_to_be_in_set",
        "column_values_to_be_of_type",
        "column_values_to_match_regex",
        "column_values_to_not_be_null",
        "column_values_to_not_match_regex",
    }
)
"""The expectations that a table meets if each of its parts does."""

_COUNTS = ("element_count", "unexpected_count", "missing_count")
_INDICES = ("partial_unexpected_index_list", "unexpected_index_list")
_SHOWN = ("partial_unexpected_list", "partial_unexpected_counts", "partial_unexpected_index_list")


class MergedValidation:
    """The validations of the parts of a table as that of the whole; ``rows`` counts the rows so far.

    Of each expectation the first ``most`` violations are shown, and their rows are kept for the message.
    """

    def __init__(self, most: int) -> None:
        self._most, self._results = most, dict[int, ExpectationResult]()
        self._validation: Validation = None
        self._rows_shown: dict[int, dict[str, Any]] = {}
        self.rows = 0

    def add(self, validation: Validation, part: "pandas.DataFrame") -> None:
        """Adds the validation of the next part by the expectations that are about a row alone."""
        self._validation = self._validation or validation
        for result in validation.results:
            self._keep_rows(result.result, part, self.rows)
            _move_indices(result.result, self.rows)
            known = self._results.setdefault(_number(result), result)
            if known is not result:
                self._merge(known, result)
        self.rows += len(part)

    def join(self, validation: Validation, whole: "pandas.DataFrame") -> None:
        """Adds the validation by the other expectations, of their columns as a whole."""
        self._validation = self._validation or validation
        for result in validation.results:
            self._keep_rows(result.result, whole, 0)
            self._results[_number(result)] = result

    def validation(self) -> Validation:
        """The validation of all parts."""
        assert self._validation is not None
        merged, results = self._validation, list(self._results.values())
        good = sum(bool(result.success) for result in results)
        merged.results, merged.success = results, good == len(results)
        merged.statistics = {
            "evaluated_expectations": len(results),
            "successful_expectations": good,
            "unsuccessful_expectations": len(results) - good,
            "success_percent": 100 * good / len(results) if results else None,
        }
        return merged

    def row(self, number: int) -> dict[str, Any]:
        """The values of a row that is shown as a violation."""
        return self._rows_shown[number]

    def _keep_rows(self, result: Mapping[str, Any], table: "pandas.DataFrame", start: int) -> None:
        for number in result.get("partial_unexpected_index_list") or ():
            [values] = table.iloc[[number]].to_dict("records")
            self._rows_shown.setdefault(start + number, {}).update({str(name): each for name, each in values.items()})

    def _merge(self, known: ExpectationResult, new: ExpectationResult) -> None:
        """Adds the result of a part to that of the parts before it."""
        if known.success and not new.success:
            known.exception_info = new.exception_info
            if "element_count" not in new.result:  # a type that differs, or an error
                known.result = new.result
        known.success = known.success and new.success
        if "element_count" not in known.result or "element_count" not in new.result:
            return
        for key, value in new.result.items():
            if key in _COUNTS:
                known.result[key] += value
            elif isinstance(value, list):
                known.result[key] = [*known.result[key], *value][: self._most if key in _SHOWN else None]
        known.result |= _shares(known.result)


def _shares(result: Mapping[str, Any]) -> dict[str, Any]:
    """The percentages of a result, from its counts; without those that it does not have."""
    rows, unexpected, missing = (result.get(key, 0) for key in _COUNTS)
    present = rows - missing
    values = {
        "missing_percent": 100 * missing / rows if rows else None,
        "unexpected_percent": 100 * unexpected / present if present else None,
        "unexpected_percent_total": 100 * unexpected / rows if rows else None,
        "unexpected_percent_nonmissing": 100 * unexpected / present if present else None,
        "unexpected_index_query": f"df.filter(items={result.get('unexpected_index_list', [])}, axis=0)",
    }
    return {key: value for key, value in values.items() if key in result}


def _move_indices(result: dict[str, Any], start: int) -> None:
    for key in _INDICES:
        if result.get(key):
            result[key] = [number + start for number in result[key]]


def _number(result: ExpectationResult) -> int:
    return int(result.expectation_config.meta["number"])


class WholeColumns:
    """Columns of a table that comes in parts."""

    def __init__(self, columns: list[str]) -> None:
        self._columns, self._parts = columns, list["pandas.DataFrame"]()

    def add(self, part: "pandas.DataFrame") -> None:
        """Keeps the columns of the next part."""
        if self._columns:
            self._parts.append(part[self._columns].copy())

    def table(self) -> "pandas.DataFrame":
        """The columns of all parts, which are then no longer kept."""
        import pandas as pd

        parts, self._parts = self._parts, []
        return pd.concat(parts, ignore_index=True)
