"""The audit of a file of captions: why its scores are what they are, without any training."""
