"""The browser of the tests of web pages."""

import shutil

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

CHROMIUM = next(filter(None, map(shutil.which, _NAMES)), None)
"""The path of Chromium or Chrome, or None if neither is on the PATH; the tests of web pages are skipped then."""

NO_CHROMIUM = "neither Chromium nor Chrome is on the PATH; CONTRIBUTING.md says how to install one"
