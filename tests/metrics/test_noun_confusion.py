from wordgaze.metrics.noun_confusion import noun_confusion
from wordgaze.text.objects import Lexicon

ANIMALS = Lexicon(["dog", "cat", "horse", "cow"])


def pairs(*rows: tuple[str, str], most: int = 15) -> list[tuple[str, str]]:
    captions = [caption.split() for caption, _ in rows]
    references = [[text.split() for text in texts.split("|")] for _, texts in rows]
    return [tuple(pair) for pair in noun_confusion(captions, references, ANIMALS, most)]


def test_a_caption_is_right_that_names_the_noun_of_most_references_anywhere() -> None:
    assert pairs(("a cat beside a dog", "two dogs|a dog and a cat")) == [("dog", "dog")]


def test_a_wrong_caption_counts_by_its_first_noun_or_as_none() -> None:
    assert pairs(("a cat and a horse", "a dog"), ("a thing", "a dog"), ("a cat", "a cat")) == [
        ("dog", "cat"),
        ("dog", "(none)"),
        ("cat", "cat"),
    ]


def test_an_image_whose_references_name_nothing_has_no_pair_and_ties_go_by_the_alphabet() -> None:
    assert pairs(("a cat", "a field"), ("a cow", "a dog with a cat"), most=0) == [("(other)", "(other)")]
    assert pairs(("a horse", "a dog with a cat")) == [("cat", "(other)")]


def test_rare_nouns_are_one_class() -> None:
    rows = [("a dog", "a dog"), ("a horse", "a dog"), ("a dog", "a cat")]
    assert pairs(*rows, most=1) == [("dog", "dog"), ("dog", "(other)"), ("(other)", "dog")]
