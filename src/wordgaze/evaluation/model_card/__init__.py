"""The model card of a captioner (Mitchell et al. 2019), in Markdown and as an HTML page, filled from records."""
