"""Links of files that become pages elsewhere: README and the benchmarks are written for the repository."""

import posixpath
import re

PAGES = {"benchmarks/README.md": "reference/benchmarks.md"}
"""Files outside of ``docs/``, and the pages that they become; the pictures of benchmarks become ``images/``."""

_LINK = re.compile(r"(?<=\]\()(?P<path>[^)#:]+)(?=[#)])")


def relinked(text: str, folder: str, page: str) -> str:
    """The text of a file in ``folder`` of the repository, with its relative links as those of ``page`` of the site."""

    def link(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, found["path"]))
        target = PAGES.get(path, path.removeprefix("docs/").replace("benchmarks/", "images/"))
        return posixpath.relpath(target, posixpath.dirname(page))

    return _LINK.sub(link, text)
