"""The lock names each package with hashes, and a bill of materials can be made from it."""

import json
import re
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).parents[2] / "requirements.lock"


def entries() -> list[str]:
    """One text per package: its first line and its hashes."""
    return [entry for entry in re.split(r"\n(?=[a-z0-9])", LOCK.read_text(encoding="utf-8")) if entry.strip()]


def test_every_package_of_the_lock_has_a_version_and_hashes() -> None:
    assert len(entries()) > 100
    assert [entry for entry in entries() if not re.match(r"[a-z0-9._-]+(\[.*\])?==[^ ]+", entry)] == []
    assert [entry for entry in entries() if "--hash=sha256:" not in entry] == []


def test_the_bill_of_materials_lists_the_packages_with_their_hashes(tmp_path: Path) -> None:
    part = tmp_path / "requirements.lock"
    part.write_text("\n".join(entries()[:12]), encoding="utf-8")
    arguments = ["requirements", "--output-reproducible", "-o", str(tmp_path / "sbom.json"), str(part)]
    subprocess.run([sys.executable, "-m", "cyclonedx_py", *arguments], check=True, capture_output=True)
    found = json.loads((tmp_path / "sbom.json").read_text(encoding="utf-8"))
    assert found["bomFormat"] == "CycloneDX"
    names = {f"{component['name']}=={component['version']}" for component in found["components"]}
    assert names == {re.split(r"[ ;\\]", entry)[0] for entry in entries()[:12]}
    assert all(component["externalReferences"][0]["hashes"] for component in found["components"])
