import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wordgaze.core.errors import ParamsError
from wordgaze.data.datasets.scenes import Scenes
from wordgaze.data.datasets.scenes.backdrops import backdrop
from wordgaze.data.datasets.scenes.compose import BACKDROPS, PLACES, compose
from wordgaze.data.datasets.scenes.drawing import draw
from wordgaze.data.datasets.scenes.nouns import NOUNS, pictogram, plural
from wordgaze.data.records import Box, Record

SIZE = 224
NUMBERS = {"a": 1, "an": 1, "two": 2, "three": 3}
SINGULARS = {noun: noun for noun in NOUNS} | {plural(noun): noun for noun in NOUNS}
PLACE_WORDS = {"beach", "street", "field", "park", "desert", "lake", "room", "snowy", "view"}


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return Scenes(1200, SIZE, 0).records()


def mentions(caption: str) -> Counter[str]:
    """How many of which noun a caption speaks of, read with nothing but numbers, adjectives and nouns."""
    found: Counter[str] = Counter()
    for number, word in re.findall(r"\b(an?|two|three) (?:large |small )?(\w+)", caption):
        if word not in PLACE_WORDS:
            found[SINGULARS[word]] += NUMBERS[number]
    return found


def boxes(record: Record, text: str) -> list[Box]:
    nouns = mentions(text)
    return [thing for thing in record.objects if thing.noun in nouns]


def area(box: tuple[int, int, int, int]) -> int:
    return max(0, box[2] - box[0]) * max(0, box[3] - box[1])


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    first, again, other = (tmp_path / name for name in ("first", "again", "other"))
    assert Scenes(12, 64, 3).collect(first) == Scenes(12, 64, 3).collect(again) != Scenes(12, 64, 4).collect(other)
    pictures = [sorted((folder / "images").iterdir()) for folder in (first, again)]
    assert [path.read_bytes() for path in pictures[0]] == [path.read_bytes() for path in pictures[1]]


def test_a_larger_data_set_begins_with_the_pictures_of_a_smaller_one(tmp_path: Path) -> None:
    few = Scenes(12, 64, 3).collect(tmp_path / "few").records
    assert few == Scenes(15, 64, 3).collect(tmp_path / "more").records[:12]
    for record in few:
        pictures = [(tmp_path / folder / "images" / record.image).read_bytes() for folder in ("few", "more")]
        assert pictures[0] == pictures[1]


def test_collect_draws_square_rgb_jpegs_and_returns_the_records_that_need_no_drawing(tmp_path: Path) -> None:
    scenes = Scenes(12, 96, 0)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "stale.jpg").touch()
    collected = scenes.collect(tmp_path).records
    assert collected == scenes.records()
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == [f"scene-{i:05d}.jpg" for i in range(12)]
    for record in collected:
        with Image.open(tmp_path / "images" / record.image) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (96, 96))


def test_every_picture_has_five_different_captions(records: list[Record]) -> None:
    assert {len(set(record.captions)) for record in records} == {5}


def test_every_caption_counts_exactly_the_objects_that_have_a_box(records: list[Record]) -> None:
    for record in records:
        for caption in record.captions:
            assert mentions(caption) == Counter(thing.noun for thing in record.objects), caption


def test_articles_plurals_and_verbs_are_grammatical(records: list[Record]) -> None:
    for caption in (caption for record in records for caption in record.captions):
        for article, following in re.findall(r"\b(an?) (\w)", caption):
            assert (article == "an") == (following in "aeiou"), caption
        for number, noun in re.findall(r"\b(an?|two|three) (?:large |small )?(\w+)", caption):
            if noun not in PLACE_WORDS:
                assert noun == (SINGULARS[noun] if NUMBERS[number] == 1 else plural(SINGULARS[noun])), caption
        for verb, number in re.findall(r"\bthere (is|are) (\w+)", caption):
            assert (verb == "is") == (NUMBERS[number] == 1), caption
        if subject := re.match(r"(.+) (is|are) ", caption.split("there")[0]):
            assert (subject[2] == "is") == (mentions(subject[1]).total() == 1), caption
        for pronoun in re.findall(r"\b(its|it)\b", caption):
            assert re.search(rf"there is an? \w+ with .* {pronoun}\b", caption), caption


@pytest.mark.parametrize(
    ("noun", "several"),
    [("dog", "dogs"), ("bus", "buses"), ("butterfly", "butterflies"), ("sheep", "sheep"), ("cactus", "cacti")],
)
def test_plurals(noun: str, several: str) -> None:
    assert plural(noun) == several


def test_left_right_above_and_below_agree_with_the_boxes(records: list[Record]) -> None:
    patterns = {
        r"^(?P<a>.+) (?:to the left of|next to) (?P<b>.+)$": (2, 0),
        r"^(?P<b>.+) to the right of (?P<a>.+)$": (2, 0),
        r"there (?:is|are) (?P<a>.+) with (?P<b>.+) to (?:its|their) right$": (2, 0),
        r"^(?P<a>.+) above (?P<b>.+)$": (3, 1),
        r"^(?P<b>.+) (?:is|are) below (?P<a>.+)$": (3, 1),
        r"there (?:is|are) (?P<a>.+) with (?P<b>.+) below (?:it|them)$": (3, 1),
    }
    seen: Counter[str] = Counter()
    for record in records:
        for caption in record.captions:
            for pattern, (end, start) in patterns.items():
                if match := re.search(pattern, caption):
                    seen[pattern] += 1
                    before, after = boxes(record, match["a"]), boxes(record, match["b"])
                    assert max(t.box[end] for t in before) <= min(t.box[start] for t in after), caption
    assert min(seen[pattern] for pattern in patterns) > 20


def test_next_to_means_close_and_to_the_left_of_means_apart(records: list[Record]) -> None:
    gaps: dict[str, list[int]] = {"next to": [], "to the left of": []}
    for record in records:
        for relation in gaps if len({thing.noun for thing in record.objects}) == 2 else ():
            for left, right in (c.split(f" {relation} ") for c in record.captions if f" {relation} " in c):
                edges = max(t.box[2] for t in boxes(record, left)), min(t.box[0] for t in boxes(record, right))
                gaps[relation].append(edges[1] - edges[0])
    assert 0 <= max(gaps["next to"]) < 0.05 * SIZE < 0.1 * SIZE < min(gaps["to the left of"])


def test_large_and_small_are_far_apart(records: list[Record]) -> None:
    sides: dict[str, list[int]] = {"large": [], "small": []}
    for record in records:
        for size, word in re.findall(r"(large|small) (\w+)", record.captions[-1]):
            for thing in record.objects:
                if thing.noun == SINGULARS[word]:
                    left, top, right, bottom = thing.box
                    sides[size].append(max(right - left, bottom - top))
    assert max(sides["small"]) < 0.25 * SIZE < 0.33 * SIZE < min(sides["large"])


@pytest.mark.parametrize("size", [64, 224, 301])
def test_boxes_lie_in_the_picture_and_hardly_overlap(size: int) -> None:
    for record in Scenes(400, size, 1).records():
        assert 1 <= len(record.objects) <= 4
        for thing in record.objects:
            left, top, right, bottom = thing.box
            assert 0 <= left < right <= size, record
            assert 0 <= top < bottom <= size, record
        for one, two in combinations((thing.box for thing in record.objects), 2):
            common = max(one[0], two[0]), max(one[1], two[1]), min(one[2], two[2]), min(one[3], two[3])
            assert area(common) < 0.15 * min(area(one), area(two)), record


@pytest.mark.parametrize("index", range(12))
def test_every_object_is_drawn_where_its_box_generates_and_nothing_elsewhere(index: int) -> None:
    scene = compose(0, index, SIZE)
    empty = backdrop(scene.place.name, scene.time, scene.backdrop, SIZE)
    changed = np.abs(np.asarray(draw(scene)).astype(int) - np.asarray(empty)).sum(axis=2) > 30
    for left, top, right, bottom in (thing.box for group in scene.groups for thing in group.things):
        assert changed[top:bottom, left:right].mean() > 0.1
        margin = (right - left) // 6  # the shadow on the ground
        changed[top : bottom + margin, max(0, left - margin) : right + margin] = False
    assert not changed.any()


@pytest.mark.parametrize("noun", NOUNS)
def test_pictograms_reach_all_four_sides_so_that_boxes_are_tight(noun: str) -> None:
    image = pictogram(noun)
    visible = np.asarray(image.getchannel("A")) > 64
    assert all(edge.any() for edge in (visible[:2], visible[-2:], visible[:, :2], visible[:, -2:]))
    assert min(image.size) > 20


@pytest.mark.parametrize("place", [place.name for place in PLACES])
def test_nights_are_darker_than_days(place: str) -> None:
    day, night = (np.asarray(backdrop(place, time, 0, 64)).mean() for time in ("day", "night"))
    assert night < 0.75 * day


def test_the_vocabulary_is_closed_and_every_noun_is_seen_often(records: list[Record]) -> None:
    words = {word for record in records for caption in record.captions for word in re.findall(r"\w+", caption)}
    assert len(words) <= 180
    train = Counter(noun for r in records if r.split == "train" for noun in {thing.noun for thing in r.objects})
    assert len(train) >= 60
    assert min(train.values()) >= 10


def test_every_place_and_every_backdrop_is_used(records: list[Record]) -> None:
    for place in PLACES:
        assert sum(f"a view of a {place.name} " in record.captions[1] for record in records) > 80
    assert {compose(0, index, SIZE).backdrop for index in range(100)} == set(range(BACKDROPS))


def test_the_splits_are_in_proportion_for_any_number_of_pictures(records: list[Record]) -> None:
    assert Counter(record.split for record in records) == {"train": 1000, "dev": 100, "test": 100}
    assert Counter(record.split for record in records[:12]) == {"train": 10, "dev": 1, "test": 1}
    assert len({record.image for record in records}) == len(records)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [((11, 224, 0), "pictures is 11"), ((12, 63, 0), "size is 63"), ((12, 64, -1), "seed is -1")],
)
def test_what_cannot_be_drawn_is_refused_with_the_value(arguments: tuple[int, int, int], named: str) -> None:
    with pytest.raises(ParamsError, match=named):
        Scenes(*arguments)
