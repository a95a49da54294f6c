"""A page to look at: scores with their uncertainty, and captions beside their pictures."""

SCORES = {
    "bleu_1": "BLEU-1", "bleu_2": "BLEU-2", "bleu_3": "BLEU-3", "bleu_4": "BLEU-4", "rouge_l": "ROUGE-L",
    "meteor": "METEOR", "meteor_toolkit": "METEOR (toolkit)", "cider": "CIDEr", "cider_d": "CIDEr-D",
}  # fmt: skip
"""The scores by the names that papers give them, in a table's order. Others follow under their own."""
