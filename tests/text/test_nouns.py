import pytest

from wordgaze.text.nouns import indefinite_article, regular_plural, with_articles


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


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a apple on a table", "an apple on a table"),
        ("an dog and a apple", "a dog and an apple"),
        ("a old apple", "a old apple"),
        ("apple a", "apple a"),
        ("", ""),
    ],
)
def test_articles_change_before_the_given_words_alone(before: str, after: str) -> None:
    assert with_articles(before.split(), {"apple", "dog"}) == tuple(after.split())
