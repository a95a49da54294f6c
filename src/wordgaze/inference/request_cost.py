"""What a request may cost: limits of everything that a client can choose and that takes time or memory."""

from wordgaze.core.errors import ParamsError
from wordgaze.generation.config import GenerationConfig

MAX_IMAGES = 256
"""The most images of a request."""

MAX_HYPOTHESES = 640
"""The most captions of an image that a strategy may follow at once: 20 beams with 4 required words and a name."""

MAX_COST = 20_000
"""The most words of an image, hypotheses of all searches times length, that a strategy may compute."""

MAX_TOTAL_COST = 320_000
"""The most words, images times hypotheses times length, that a request may compute: MAX_IMAGES by the settings of the
captioner that comes with wordgaze, or 16 images at the most that one may cost."""

MAX_GIVEN_WORDS = 100
"""The most words of a caption that is given, to be explained or to be continued."""

MAX_NEIGHBOURS = 100
"""The most training images that the captions of an image are compared with."""

MAX_LISTED_WORDS = 1000
"""The most entries of ``bad_words``, and the most characters of an entry of ``bad_words`` and ``force_words``."""


def check_cost(config: GenerationConfig, images: int, *, given_words: int = 0) -> None:
    """Raises ParamsError for a request that would keep a captioner from everybody else for long.

    ``images`` are decoded with ``config``; ``given_words`` is the number of words that a caption must begin with. The
    limits hold for a library call only where its caller checks them: a server does.
    """
    if images > MAX_IMAGES:
        raise ParamsError(f"{images} images are more than the {MAX_IMAGES} of a request; send fewer at once")
    if given_words > MAX_GIVEN_WORDS:
        raise ParamsError(f"{given_words} given words are more than the {MAX_GIVEN_WORDS} allowed; shorten the caption")
    if config.num_neighbours > MAX_NEIGHBOURS:
        raise ParamsError(
            f"num_neighbours ({config.num_neighbours}) is more than the {MAX_NEIGHBOURS} allowed; lower it"
        )
    _check_words(config)
    searches, words = hypotheses_of_searches(config), config.max_new_tokens
    cost = sum(searches) * words
    if max(searches) > MAX_HYPOTHESES or cost > MAX_COST:
        raise ParamsError(
            f"{sum(searches)} captions of {words} words cost more than a request may, {MAX_HYPOTHESES} captions at "
            f"once and {MAX_COST} words; lower num_beams, num_return_sequences, mbr_samples or max_new_tokens"
        )
    if images * cost > MAX_TOTAL_COST:
        raise ParamsError(
            f"{images} images with {sum(searches)} captions of {words} words each cost more than the "
            f"{MAX_TOTAL_COST} words of a request; send fewer images at once"
        )


def hypotheses_of_searches(config: GenerationConfig) -> tuple[int, ...]:
    """The number of captions of an image that each search follows.

    Each required word doubles the beams. ``name_objects`` may search a second time, with one more required word.
    """
    forced = len(config.force_words)
    searches = (forced, forced + 1) if config.name_objects else (forced,)
    return tuple(_num_of_search(config, words) for words in searches)


def _num_of_search(config: GenerationConfig, forced: int) -> int:
    if config.strategy == "sample":
        return config.num_return_sequences
    beams = (1 if config.strategy == "greedy" else config.num_beams) << forced
    return beams + (config.mbr_samples if config.strategy == "mbr" else 0)


def _check_words(config: GenerationConfig) -> None:
    if len(config.bad_words) > MAX_LISTED_WORDS:
        raise ParamsError(
            f"bad_words has {len(config.bad_words)} entries; {MAX_LISTED_WORDS} are the most of a request"
        )
    if any(len(entry) > MAX_LISTED_WORDS for entry in (*config.bad_words, *config.force_words)):
        raise ParamsError(
            f"an entry of bad_words or force_words is longer than {MAX_LISTED_WORDS} characters; shorten it"
        )
