"""Everything that wordgaze raises on purpose.

    WordgazeError
    ├── ParamsError         params.yaml: unknown keys, wrong types, impossible combinations
    ├── DataError           what a person or a data set handed in
    │   ├── DownloadError   not reachable, cut off, checksum that does not match, unsafe archive
    │   ├── ImageError      a file that is no picture, is broken, or is too large
    │   ├── CaptionsError   a caption file with missing columns or broken lines
    │   └── ContractError   a hand-over between two stages that breaks its contract
    ├── ModelError          an unknown encoder, a captioner folder that is missing or of another version
    ├── ScoreError          captions and references that cannot be compared
    └── TrackingError       MLflow runs, the registry, promotion

The command line prints the message of any of them as one line and exits with 1; each message names the
value, the file and the way out.
"""


class WordgazeError(Exception):
    """The root: catch it to catch everything that wordgaze raises on purpose."""


class ParamsError(WordgazeError):
    """The parameters cannot be used."""


class DataError(WordgazeError):
    """Pictures or captions cannot be used."""


class DownloadError(DataError):
    """A file could not be brought here whole and safe."""


class ImageError(DataError):
    """A file is not a picture that can be read."""


class CaptionsError(DataError):
    """A caption file cannot be read."""


class ContractError(DataError):
    """A hand-over between two stages breaks its contract."""


class ModelError(WordgazeError):
    """An encoder or a captioner cannot be built or loaded."""


class ScoreError(WordgazeError):
    """Captions cannot be scored against these references."""


class TrackingError(WordgazeError):
    """A run, a model version or an alias is missing or refused."""
