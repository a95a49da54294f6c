"""Named generation settings, which ``wordgaze compare`` sets side by side.

A strategy as it is has its own name; the names of the others say what restricts the sampling.
"""

PRESETS: dict[str, dict[str, object]] = {
    "greedy": {"strategy": "greedy", "num_return_sequences": 1},
    "beam": {"strategy": "beam"},
    "diverse": {"strategy": "diverse"},
    "sample": {"strategy": "sample"},
    "temperature 0.7": {"strategy": "sample", "temperature": 0.7},
    "top-k 10": {"strategy": "sample", "top_k": 10},
    "nucleus 0.9": {"strategy": "sample", "top_p": 0.9},
    "typical 0.9": {"strategy": "sample", "typical_p": 0.9},
    "min-p 0.1": {"strategy": "sample", "min_p": 0.1},
    "mbr": {"strategy": "mbr", "temperature": 0.7},
    "neighbours": {"strategy": "neighbours"},
}
"""By name: fields of GenerationConfig."""
