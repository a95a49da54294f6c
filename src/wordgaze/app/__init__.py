"""The web page, and what it shows: captions by every strategy, and the attention of each word."""
