"""The web page, and what it shows: captions by every strategy, and where each word looked."""
