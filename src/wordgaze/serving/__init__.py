"""Serving a captioner to others: the HTTP server, and what guards the server and the web page."""
