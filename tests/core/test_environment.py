import pytest

from wordgaze.core.environment import positive_number
from wordgaze.core.errors import ParamsError


def test_the_default_holds_where_the_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORDGAZE_TESTED", raising=False)
    assert positive_number("WORDGAZE_TESTED", 2.5, "seconds") == 2.5
    monkeypatch.setenv("WORDGAZE_TESTED", " 1e2 ")
    assert positive_number("WORDGAZE_TESTED", 2.5, "seconds") == 100


@pytest.mark.parametrize("text", ["", "much", "0", "-1", "inf", "nan", "1,5"])
def test_another_value_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORDGAZE_TESTED", text)
    with pytest.raises(ParamsError) as raised:
        positive_number("WORDGAZE_TESTED", 2.5, "seconds")
    assert str(raised.value) == f"WORDGAZE_TESTED is {text!r}; set it to a number of seconds above 0"
