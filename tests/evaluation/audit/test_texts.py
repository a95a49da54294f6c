"""Faults of the texts of captions: markers, pieces, cuts."""

import pytest

from tests.evaluation.audit.examples import ANIMALS, SAID, TRUTHS, Audit, by_check, faults
from wordgaze.evaluation.audit.texts import CaptionText, cut_captions, with_whole_words
from wordgaze.text.tokenizers import get_tokenizer


@pytest.mark.parametrize(
    ("check", "caption"),
    [
        ("markers", "<start> a dog runs outside on grass <end>"),
        ("markers", "a dog runs outside on grass <eos>"),
        ("markers", "a dog runs outside on grass <pad> <pad>"),
        ("unknown_words", "a <unk> runs outside on grass"),
        ("word_pieces", "a dog run ##s outside on grass"),
        ("word_pieces", "a dog runs out@@ side on grass"),
        ("word_pieces", "▁a ▁dog ▁runs ▁out side ▁on ▁grass"),
        ("word_pieces", "Ġa Ġdog Ġruns Ġout side Ġon Ġgrass"),
        ("capitals", "A dog runs outside on grass"),
        ("punctuation", "a dog runs outside, on grass"),
        ("final_stops", "a dog runs outside on grass ."),
        ("other_characters", "a “dog” runs outside on grass"),
        ("other_characters", "a dog\x07 runs outside on grass"),
        ("other_characters", "a dög runs outside on grass"),
        ("empty_captions", ""),
        ("empty_captions", " . "),
        ("empty_captions", "<start> <end>"),
    ],
)
def test_a_fault_of_one_text_is_found_with_the_image_and_what_to_do(audit: Audit, check: str, caption: str) -> None:
    audited = audit({**SAID, "0.jpg": caption})
    finding = by_check(audited)[check]
    assert (finding.count, finding.total, finding.image, finding.text) == (1, 12, "0.jpg", caption.strip())
    assert finding.advice and finding.part == "tokenization"
    others = {"other_characters": {"punctuation"}, "empty_captions": {"markers", "final_stops"}}.get(check, set())
    tokenization = {each.check for each in audited.findings if each.part == "tokenization" and each.count}
    assert tokenization - others == {check}


@pytest.mark.parametrize(
    "caption", ["a dog 's ball is on the grass", "a well-known dog isn't here", "a dog 3.5 m long", "two dogs @ home"]
)
def test_marks_inside_of_words_are_no_pieces_and_apostrophes_no_punctuation(audit: Audit, caption: str) -> None:
    found = by_check(audit({**SAID, "0.jpg": caption}))
    assert found["word_pieces"].count == 0
    assert found["punctuation"].count == ("@" in caption)


LONG = "a {} with a very long tail and a short nose runs over the grass of a park"


def test_captions_that_were_cut_at_one_length_are_found(audit: Audit) -> None:
    truths = {key: [*texts, LONG.format(animal)] for (key, texts), animal in zip(TRUTHS.items(), ANIMALS, strict=True)}
    whole = {key: LONG.format(animal) for key, animal in zip(TRUTHS, ANIMALS, strict=True)}
    assert "cut_captions" not in faults(audit(SAID, truths)) | faults(audit(whole, truths))
    at_word = by_check(audit({key: " ".join(text.split()[:8]) for key, text in whole.items()}, truths))["cut_captions"]
    assert (at_word.count, at_word.total) == (12, 12)
    assert at_word.advice == "raise the largest length of the decoder, which is 8 words"
    marked = {key: f"<start> {' '.join(text.split()[:8])}" for key, text in whole.items()}
    assert by_check(audit(marked, truths))["cut_captions"].advice == at_word.advice
    in_characters = by_check(audit({key: text[:37] for key, text in whole.items()}, truths))["cut_captions"]
    assert (in_characters.count, in_characters.advice) == (
        12,
        "raise the largest length of the decoder, which is 37 characters",
    )


def test_a_long_caption_that_many_images_have_is_no_cut() -> None:
    tokenizer = get_tokenizer("ptb")
    same = [CaptionText.of(str(n), "a dog and a cat in a", tokenizer) for n in range(20)]
    assert cut_captions(same, {"a", "dog"}, tokenizer) == ([], "")


def test_captions_in_another_language_are_cut_where_many_end() -> None:
    tokenizer = get_tokenizer("characters")
    texts = [
        "狗在草地上跑",
        "一只猫睡觉",
        "三匹马在吃草",
        "狗跑",
        *(f"{sign}在公园里和狗一起跑" for sign in "男女孩人猫熊"),
    ]
    captions = [CaptionText.of(str(n), text, tokenizer) for n, text in enumerate(texts)]
    cut, length = cut_captions(captions, set(), tokenizer)
    assert ([text.image for text in cut], length) == (["4", "5", "6", "7", "8", "9"], "10 characters")
    assert cut_captions(captions[:-2], set(), tokenizer) == ([], "")
    shorter = [CaptionText.of(sign, f"{sign}在公园里和狗一起", tokenizer) for sign in "男女孩"]
    assert cut_captions([*captions, *shorter], set(), tokenizer) == ([], "")


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ("play ##ing dog ##s", "playing dogs"),
        ("play@@ ing dog@@ s", "playing dogs"),
        ("▁play ing ▁dog s", "playing dogs"),
        ("▁playing▁dogs", "playing dogs"),
        ("play ing</w> dog s</w>", "playing dogs"),
        ("a  dog #1 @ home", "a  dog #1 @ home"),
    ],
)
def test_pieces_are_joined_to_words(pieces: str, words: str) -> None:
    assert with_whole_words(pieces) == words
