import pytest

from wordgaze.inspection.power_law import Measured, fit_power_law


def law(images: int) -> float:
    return 0.6 - 1.2 * images**-0.4


def test_a_power_law_is_found_again_and_continued() -> None:
    fitted = fit_power_law([Measured(n, law(n), 0.002) for n in (50, 200, 1000, 6000)])
    assert fitted.exponent == pytest.approx(0.4, abs=0.02)
    found = fitted.predict(24_000)
    assert found.value == pytest.approx(law(24_000), abs=0.01)
    assert found.low <= found.value <= found.high
    assert found.high - found.low < 0.1


def test_the_interval_grows_with_the_distance_and_with_the_errors() -> None:
    points = [(n, law(n)) for n in (50, 200, 1000)]
    sure, unsure = (fit_power_law([Measured(*each, error) for each in points]) for error in (0.001, 0.02))
    spans = [fit.predict(n).high - fit.predict(n).low for fit in (sure, unsure) for n in (2_000, 20_000)]
    assert spans[0] < spans[1] < spans[3]
    assert spans[0] < spans[2]


def test_scores_that_fall_give_a_flat_line() -> None:
    fitted = fit_power_law([Measured(10, 0.5, 0.01), Measured(100, 0.4, 0.01), Measured(1000, 0.3, 0.01)])
    assert fitted.scale == 0
    assert fitted.predict(10_000).value == pytest.approx(fitted.limit)
