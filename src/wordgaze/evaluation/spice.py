"""SPICE by its published Java program (Anderson et al. 2016, "SPICE: Semantic Propositional Image Caption Evaluation").

The program is a part of the package pycocoevalcap. The parser that it needs, Stanford CoreNLP 3.6.0, is not: the
package downloads it when its own SPICE is used for the first time. It writes its scores by Nashorn, the JavaScript of
Java 8 to 14, which Java 15 removed: there it fails after all the parsing.
"""

import json
import logging
import math
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from wordgaze.core.errors import ScoreError
from wordgaze.core.leftovers import temporary_folder
from wordgaze.metrics.base import Tokens

_PROGRAM = "spice-1.0.jar"
_PARSER = ("lib/stanford-corenlp-3.6.0.jar", "lib/stanford-corenlp-3.6.0-models.jar")
_JAVA = range(8, 15)  # the versions with Nashorn
_VERSIONS = f"{_JAVA[0]} to {_JAVA[-1]}"
_MEMORY = "8G"  # of Java at most, as in the toolkit
_DOWNLOAD = 'python -c "from pycocoevalcap.spice.spice import Spice; Spice()"'
_log = logging.getLogger(__name__)


class SpiceProgram(NamedTuple):
    """Java, and the program that it runs."""

    java: str
    jar: Path

    @classmethod
    def find(cls) -> "SpiceProgram":
        """The installed program. Raises ScoreError that names what is missing, and how to get it."""
        spec = find_spec("pycocoevalcap")
        folders = [Path(folder) / "spice" for folder in (spec.submodule_search_locations or ())] if spec else []
        folder = next((folder for folder in folders if (folder / _PROGRAM).is_file()), None)
        if folder is None:
            raise ScoreError(f"SPICE needs {_PROGRAM} of the package pycocoevalcap; run pip install pycocoevalcap")
        if missing := [name for name in _PARSER if not (folder / name).is_file()]:
            raise ScoreError(f"SPICE needs the parser {folder / missing[0]}; download it with: {_DOWNLOAD}")
        java = shutil.which("java")
        if java is None:
            raise ScoreError(f"SPICE needs Java {_VERSIONS}, and java is not on PATH; install such a Java runtime")
        if (version := _java_version(java)) not in _JAVA:
            raise ScoreError(
                f"SPICE needs Java {_VERSIONS}, and {java} is {version or 'of an unknown version'}; put such a Java"
                " runtime first on PATH, or leave out --spice"
            )
        return cls(java, folder / _PROGRAM)

    def scores(
        self, systems: Mapping[str, Sequence[Tokens]], references: Sequence[Sequence[Tokens]]
    ) -> dict[str, float]:
        """The SPICE, 0…1, of each system's captions: the mean F-score of N images, as the toolkit reports it.

        ``references[i]`` are all the references of image i, in lower case. Raises ScoreError where the program fails.
        """
        return {name: self._mean_f(name, captions, references) for name, captions in systems.items()}

    def _mean_f(self, name: str, captions: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> float:
        _log.info("SPICE: the captions %s and their references are parsed, which takes minutes", name)
        images = [
            {"image_id": number, "test": " ".join(words), "refs": [" ".join(each) for each in of_image]}
            for number, (words, of_image) in enumerate(zip(captions, references, strict=True))
        ]
        scored = self._run(images)
        try:
            found = {int(image["image_id"]): float(image["scores"]["All"]["f"]) for image in json.loads(scored)}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ScoreError(f"{self.jar} wrote scores that cannot be read; install pycocoevalcap again") from error
        if sorted(found) != list(range(len(images))):
            raise ScoreError(f"{self.jar} scored {len(found)} of {len(images)} images; score fewer at a time")
        return math.fsum(found.values()) / len(images)

    def _run(self, images: Sequence[Mapping[str, Any]]) -> bytes:
        """What the program writes of images. Raises ScoreError where it fails."""
        with temporary_folder() as folder:
            given, found = folder / "captions.json", folder / "scores.json"
            given.write_text(json.dumps(images), encoding="utf-8")
            options = ["-out", str(found), "-subset", "-silent"]
            command = [self.java, f"-Xmx{_MEMORY}", "-jar", str(self.jar), str(given), *options]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
            if done.returncode == 0 and found.is_file():
                return found.read_bytes()
        reason = _reason(done.stderr)
        raise ScoreError(f"{self.jar} ended with exit code {done.returncode} ({reason}); leave out --spice")


def _java_version(java: str) -> int | None:
    """The feature version of a Java runtime: 8 of ``1.8.0_402``, 17 of ``17.0.1``. None if it does not say it."""
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, errors="replace", check=False).stderr
    except OSError:
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', told)
    return int(found[1]) if found else None


def _reason(told: str) -> str:
    """The line of what a Java program told that names its error; it tells of its progress before."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\w(Exception|Error)\b", line)]
    return (errors or lines[-1:] or ["without a message"])[0]
