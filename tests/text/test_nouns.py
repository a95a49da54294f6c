import pytest

from wordgaze.text.nouns import indefinite_article, regular_plural


@pytest.mark.parametrize(
    ("noun", "plural"),
    [("dog", "dogs"), ("bus", "buses"), ("box", "boxes"), ("church", "churches"), ("berry", "berries"),
     ("monkey", "monkeys"), ("fireman", "firemen")],
)  # fmt: skip
def test_plurals_follow_the_spelling(noun: str, plural: str) -> None:
    assert regular_plural(noun) == plural


@pytest.mark.parametrize(
    ("word", "article"),
    [("dog", "a"), ("ape", "an"), ("unicorn", "a"), ("umbrella", "an"), ("hour", "an"), ("suv", "an")],
)
def test_the_article_follows_the_sound(word: str, article: str) -> None:
    assert indefinite_article(word) == article
