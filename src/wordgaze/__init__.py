"""wordgaze: image captions, and where each word looked."""
