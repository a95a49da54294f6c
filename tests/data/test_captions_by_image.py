"""Captions in arrays: they are read as lists, and take little memory."""

import tracemalloc

import pytest

from wordgaze.data.captions_by_image import CaptionsByImage, TextsByImage, WordIds


def test_captions_are_those_that_were_added_whatever_their_order() -> None:
    ids = WordIds()
    train, test = CaptionsByImage(ids), CaptionsByImage(ids)
    train.add("b.jpg", "a dog", "A dog .")
    train.add("a.jpg", "cats", "Cats\u2028")
    test.add("ç.jpg", "dog", "")
    train.add("b.jpg", "", "Ein Häuschen")
    assert train == {"b.jpg": [["a", "dog"], []], "a.jpg": [["cats"]]}
    assert list(train) == ["b.jpg", "a.jpg"] and "c.jpg" not in train and len(train) == 2
    raw = TextsByImage([train, test])
    assert raw == {"b.jpg": ["A dog .", "Ein Häuschen"], "a.jpg": ["Cats\u2028"], "ç.jpg": [""]}
    assert len(raw) == 3
    for missing in (train, raw):
        with pytest.raises(KeyError, match=r"c\.jpg"):
            missing["c.jpg"]


def test_a_caption_takes_little_memory() -> None:
    captions = CaptionsByImage(WordIds())
    tracemalloc.start()
    for number in range(20_000):
        text = f"a dog number {number % 100} runs over the green grass of a park"
        captions.add(f"{number // 5:09}.jpg", text, text)
    assert captions["000000003.jpg"][2][3] == "17"
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert size / 20_000 < 250
