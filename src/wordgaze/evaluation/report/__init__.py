"""The HTML report of an evaluation: scores with confidence intervals, baselines, failure cases and example captions."""
