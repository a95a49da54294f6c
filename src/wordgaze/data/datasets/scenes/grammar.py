"""Five forms of a sentence about a scene, in five languages.

A form determines what it mentions and in which order (left to right, or top to bottom), so a model that recognises the
scene can reproduce one of the sentences exactly. The forms are the same in every language: the objects and the place; a
view of the place with the objects; the first object, then the others and where they are; how the first object lies to
the others (a single object: that there is nothing else); the sizes.
"""

from collections.abc import Callable, Mapping

from wordgaze.data.datasets.scenes.compose import Scene
from wordgaze.data.datasets.scenes.languages.arabic import arabic_captions
from wordgaze.data.datasets.scenes.languages.chinese import chinese_captions
from wordgaze.data.datasets.scenes.languages.english import english_captions
from wordgaze.data.datasets.scenes.languages.german import german_captions
from wordgaze.data.datasets.scenes.languages.hindi import hindi_captions

GRAMMARS: Mapping[str, Callable[[Scene], tuple[str, ...]]] = {
    "en": english_captions,
    "de": german_captions,
    "zh": chinese_captions,
    "ar": arabic_captions,
    "hi": hindi_captions,
}
"""The captions of a scene by the code of their language (BCP 47)."""


def describe(scene: Scene, language: str = "en") -> tuple[str, ...]:
    """Five captions, one per form; the last one mentions sizes. Every statement is true of the image."""
    return GRAMMARS[language](scene)
