"""English function words."""

FUNCTION_WORDS = frozenset(
    "a an the this that these those his her its their my your our some each every another "
    "in on at of with and or but by for from to into onto near behind beside between under above through "
    "against around across along towards toward during while as than is are was were be being has have".split()
)
"""A complete caption does not end on one of these words: "a man in a"."""
