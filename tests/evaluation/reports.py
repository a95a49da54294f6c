"""Small evaluations, complete and valid, for tests of what is made from them."""

from typing import Any

from wordgaze.evaluation.results import EvaluationDetails, EvaluationReport, Scores

BEAM = Scores(bleu_1=0.61, bleu_2=0.4, bleu_3=0.3, bleu_4=0.204, rouge_l=0.45, meteor=0.188, cider=0.4996)
GREEDY = Scores(bleu_1=0.62, bleu_2=0.39, bleu_3=0.28, bleu_4=0.188, rouge_l=0.44, meteor=0.181, cider=0.4652)
WEIGHTS = "5f" * 32


def evaluation_report(**changes: Any) -> EvaluationReport:
    """An evaluation.json of Flickr8k with two strategies; ``changes`` are fields with other values."""
    fields: dict[str, Any] = {
        "dataset": "flickr8k",
        "split": "test",
        "num_images": 1000,
        "tokenizer": "ptb",
        "cider_document_frequencies": "evaluated references",
        "weights": WEIGHTS,
        "generation": {"strategy": "beam", "num_beams": 3, "bad_words": ["cat"]},
        "system": "beam",
        "scores": {"beam": BEAM, "greedy": GREEDY},
        "baselines": {"constant": GREEDY, "constant_caption": "a dog runs"},
        "grounding": {
            "pointing": {"attention": 0.712, "uniform": 0.31, "centre": 0.552, "shuffled": 0.42},
            "mass": {"attention": 0.48, "uniform": 0.31, "centre": None, "shuffled": None},
        },
        "hallucination": {"chair_i": 0.072, "chair_s": 0.093, "object_recall": None},
        "calibration": {"ece": 0.05, "brier": 0.18},
        "confidence": {
            "ece": 0.034,
            "brier": 0.16,
            "aurc": 0.21,
            "aurc_random": 0.44,
            "aurc_oracle": 0.115,
            "cider": 0.4996,
            "cider_half": 0.7312,
        },
    }
    return EvaluationReport.model_validate({**fields, **changes})


def evaluation_details(**changes: Any) -> EvaluationDetails:
    """The details.json that belongs to :func:`evaluation_report`."""
    names = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "meteor", "cider")
    no_difference = {"value": 0.001, "low": -0.002, "high": 0.003, "p": 0.6}
    undefined, interval = {"low": None, "high": None}, {"low": 0.69, "high": 0.73}
    fields: dict[str, Any] = {
        "intervals": {"beam": dict.fromkeys(names, undefined) | {"cider": {"low": 0.471, "high": 0.528}}},
        "comparisons": [
            {
                "system": "beam",
                "base": "greedy",
                "differences": dict.fromkeys(names, no_difference)
                | {
                    "cider": {"value": 0.0344, "low": 0.0211, "high": 0.0469, "p": 0.001},
                    "bleu_1": {"value": -0.01, "low": -0.02, "high": -0.001, "p": 0.0004},
                    "meteor": {"value": 0.007, "low": -0.002, "high": 0.016, "p": 0.31},
                },
            }
        ],
        "by_length": [
            {"name": "1–7 words", "num_images": 790, "scores": BEAM},
            {"name": "11 words and more", "num_images": 210, "scores": GREEDY},
        ],
        "by_objects": [{"name": "1 object", "num_images": 1000, "scores": BEAM}],
        "grounding": {
            "num_words": 2314,
            "intervals": {
                measure: dict.fromkeys(("attention", "uniform", "centre", "shuffled"), interval)
                for measure in ("pointing", "mass")
            },
            "nouns": {"dog": {"num_words": 12, "pointing": 0.7, "mass": None}},
        },
        "calibration": [
            {"low": 0.8, "high": 1.0, "confidence": 0.9, "accuracy": 0.8, "count": 300},
            {"low": 0.3, "high": 0.5, "confidence": 0.4, "accuracy": 0.35, "count": 100},
        ],
        "confidence": {
            "curve": [
                {"coverage": 0.25, "confidence": 0.91, "risk": 0.06, "oracle": 0, "cider": 0.982},
                {"coverage": 0.3, "confidence": 0.88, "risk": 0.08, "oracle": 0, "cider": 0.9},
                {"coverage": 0.5, "confidence": 0.7, "risk": 0.15, "oracle": 0, "cider": 0.7312},
                {"coverage": 1, "confidence": 0.02, "risk": 0.44, "oracle": 0.44, "cider": 0.4996},
            ],
            "reliability": [{"low": 0.9, "high": 1.0, "confidence": 0.95, "accuracy": 0.9, "count": 260}],
        },
        "diversity": {
            "beam": {"distinct_1": 0.04, "distinct_2": 0.11, "vocabulary_size": 310, "mean_length": 9.4,
                     "novelty": 0.72, "self_bleu": None}
        },
        "failures": {"names what is not there": 71, "repeats itself": 12},
    }  # fmt: skip
    return EvaluationDetails.model_validate({**fields, **changes})
