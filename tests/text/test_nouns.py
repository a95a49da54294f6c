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
    [("dog", "a"), ("ape", "an"), ("umbrella", "an"), ("hour", "an"), ("suv", "an"), ("x-ray", "an"), ("8", "an"),
     ("11", "an"), ("18-wheeler", "an"), ("12", "a"), ("800", "an"),
     *((word, "a") for word in ("unicorn", "uniform", "used", "usual", "usb", "utility", "urinal", "ukulele", "us", "uk",
                                "european", "ewe", "one", "ufo", "uv", "u-turn", "ledge", "fmri")),
     *((word, "an") for word in ("unidentified", "uninhabited", "unimportant", "usher", "urban", "urn", "utter", "ugly",
                                 "uncle", "upset", "under"))],
)  # fmt: skip
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


def test_an_article_that_may_not_be_used_is_not_put_in() -> None:
    words = ("an", "dog", "and", "a", "apple")
    assert with_articles(words, {"apple", "dog"}, {"a"}) == ("a", "dog", "and", "a", "apple")
    assert with_articles(words, {"apple", "dog"}, ()) == words
