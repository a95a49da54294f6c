"""The languages of captions, identified from a sample of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SAMPLE = 1000
"""The largest number of captions that are identified."""

UNCERTAIN = "und"
"""The code of ISO 639 for a language that is not determined."""

_MACRO = {"wuu": "zh", "yue": "zh", "arz": "ar", "ary": "ar", "nn": "no", "uzs": "uz", "sdh": "ku"}
"""Languages by the macrolanguage of ISO 639-3 that they are written alike with."""

_NAMES = {
    "ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan", "cs": "Czech", "da": "Danish", "de": "German",
    "el": "Greek", "en": "English", "es": "Spanish", "et": "Estonian", "fa": "Persian", "fi": "Finnish", "fr": "French",
    "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "id": "Indonesian", "it": "Italian",
    "ja": "Japanese", "km": "Khmer", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian", "mr": "Marathi",
    "ms": "Malay", "my": "Burmese", "ne": "Nepali", "nl": "Dutch", "no": "Norwegian", "pl": "Polish",
    "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovenian", "sr": "Serbian",
    "sv": "Swedish", "sw": "Swahili", "ta": "Tamil", "te": "Telugu", "th": "Thai", "tl": "Tagalog", "tr": "Turkish",
    "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese", UNCERTAIN: "uncertain",
}  # fmt: skip
_SURE = 0.8  # probability from which a caption is attributed to a language
_ROUNDS = 5


@dataclass(frozen=True)
class LanguageShare:
    """A language by its ISO 639 code, and its share of the captions, from 0 to 1; UNCERTAIN is not a language."""

    code: str
    share: float


def identify_languages(captions: Sequence[str]) -> list[LanguageShare]:
    """The shares of languages among the captions, the largest first; at most SAMPLE captions, evenly spread, are read.

    One caption is too short to be certain of. The frequencies of the languages are therefore estimated over the whole
    sample (expectation maximisation) and are the prior of each caption, which is attributed to a language if that has a
    probability of 80 %.
    """
    texts = [text for text in captions if text.strip()]
    texts = texts[:: -(-len(texts) // SAMPLE) or 1]
    if not texts:
        return []
    codes, likelihoods = _likelihoods(texts)
    prior = np.full(len(codes), 1 / len(codes))
    for _ in range(_ROUNDS):
        posterior = likelihoods * prior  # (texts, languages)
        posterior /= posterior.sum(1, keepdims=True)
        prior = posterior.mean(0)
    best = [
        codes[at] if row[at] >= _SURE else UNCERTAIN for row, at in zip(posterior, posterior.argmax(1), strict=True)
    ]
    return [LanguageShare(code, count / len(texts)) for code, count in Counter(best).most_common()]


def language_name(code: str) -> str:
    """The English name of a language, or its code if it is a rare one."""
    return _NAMES.get(code, code)


def _likelihoods(texts: Sequence[str]) -> "tuple[list[str], np.ndarray[tuple[int, int], np.dtype[np.float64]]]":
    """The codes of the languages, and for each text (row) what is proportional to its probability in each of them."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    codes = sorted({_MACRO.get(code, code) for code in identifier.labels})
    place = {code: at for at, code in enumerate(codes)}
    likelihoods = np.zeros((len(texts), len(codes)))
    for row, text in zip(likelihoods, texts, strict=True):
        for code, probability in identifier.rank(text):
            row[place[_MACRO.get(code, code)]] += probability
    return codes, likelihoods + 1e-9  # a language is never impossible
