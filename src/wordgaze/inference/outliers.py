"""The warning of images that are unlike those that a captioner was trained on."""

import logging

_log = logging.getLogger(__name__)


def warn_of_outliers(first: str, number: int, total: int, dataset: str, captioner: str = "the captioner") -> None:
    """Logs one line if ``number`` of ``total`` captioned images are outliers, the first of which is ``first``.

    ``dataset`` is that of the captioner's training, "" if it is unknown.
    """
    if not number:
        return
    of, is_one = f"{number} of {total} images", total == 1
    _log.warning(
        "%s unlike the images%s that %s was trained on; %s may be wrong",
        f"{first} is" if is_one else f"{of} {'is' if number == 1 else 'are'}",
        f" of {dataset}" if dataset and dataset != "folder" else "",
        captioner,
        "the caption and its confidence" if is_one else "captions and confidence",
    )
