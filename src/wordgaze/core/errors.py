"""The exceptions of wordgaze.

    WordgazeError
    ├── ParamsError         params.yaml: unknown keys, wrong types, invalid combinations
    ├── DataError           images, captions and files that cannot be used
    │   ├── DownloadError   unreachable address, interrupted transfer, wrong checksum, unsafe archive
    │   ├── ImageError      a file that is not an image, is broken, or is too large
    │   ├── CaptionsError   a caption file with missing columns or broken lines
    │   └── ContractError   a table between two stages that violates its contract
    ├── ModelError          an unknown encoder, a captioner folder that is missing or of another version
    ├── ResourceError       the machine has not enough memory for work that is sound
    ├── DistributedError    a process of several that is missing, was lost, or does not fit the others
    ├── ServiceError        a request that failed through a fault of the server
    ├── ScoreError          captions and references that cannot be compared
    ├── RequestTimeoutError a request that took longer than it may, or whose sender has left
    ├── ServerBusyError     a server that has as many requests as it may
    └── TrackingError       MLflow runs, the registry, promotion

Each message is one line that names the value, the file and a way out. The command line prints it and exits with
status 1. Exceptions of other libraries are translated to these where they are expected.
"""


class WordgazeError(Exception):
    """The base class of all exceptions of wordgaze."""


class ParamsError(WordgazeError):
    """The parameters cannot be used."""


class DataError(WordgazeError):
    """Images, captions or the files of a stage cannot be used."""


class DownloadError(DataError):
    """A file could not be downloaded completely and safely."""


class ImageError(DataError):
    """A file is not an image that can be read."""


class CaptionsError(DataError):
    """A caption file cannot be read."""


class ContractError(DataError):
    """A table between two stages violates its contract."""


class ModelError(WordgazeError):
    """An encoder or a captioner cannot be built or loaded."""


class ResourceError(WordgazeError):
    """The machine has not enough memory; what was worked on is not to blame."""


class DistributedError(WordgazeError):
    """A process of a stage with several processes is missing, was lost, or does not fit the others."""


class ScoreError(WordgazeError):
    """Captions cannot be scored against the references."""


class RequestTimeoutError(WordgazeError):
    """A request took longer than it may, or nobody waits for it any more."""


class ServiceError(WordgazeError):
    """A request failed through a fault of the server, which its log describes."""


class ServerBusyError(WordgazeError):
    """A server has as many requests as it may; the same request may be sent again later."""


class TrackingError(WordgazeError):
    """An MLflow run, a model version or an alias is missing, or a promotion is refused."""
