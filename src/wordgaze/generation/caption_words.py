"""From the tokens that a decoder generates to the words that people read."""

import math
from dataclasses import replace
from itertools import accumulate

import numpy as np

from wordgaze.generation.outputs import Caption
from wordgaze.text.tokenizers import Tokenizer


def in_words(caption: Caption, tokenizer: Tokenizer) -> Caption:
    """A caption whose ``words`` are tokens, as a caption of words.

    The log-probabilities of the tokens of a word are summed, and their attention is averaged: a word is as probable as
    all of its tokens together, and each of them had attention of its own.
    """
    if tokenizer.has_words:
        text = tokenizer.join(caption.words)
        return caption if text == caption.text else replace(caption, joined=text)
    spans = tokenizer.spans(caption.words)
    stops = list(accumulate(span.num_tokens for span in spans))
    slices = [slice(stop - span.num_tokens, stop) for span, stop in zip(spans, stops, strict=True)]
    attention = [caption.attention[part].mean(axis=0) for part in slices]
    return replace(
        caption,
        words=tuple(span.text for span in spans),
        word_log_probs=tuple(math.fsum(caption.word_log_probs[part]) for part in slices),
        attention=np.stack(attention) if attention else caption.attention[:0],
        joined=tokenizer.join(caption.words),
    )
