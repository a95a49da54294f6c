"""Captioning of millions of images in partitions, on one machine or by Ray or Spark on several."""
