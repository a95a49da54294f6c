"""Puts the templates of ``wordgaze init`` into the wheel: they are the checkout's own files, so no copies drift."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TEMPLATES = {
    "params.yaml": "params.yaml",
    "dvc.yaml": "pipeline.yaml",
    ".gitignore": "gitignore",
    ".gitattributes": "gitattributes",
    ".dvcignore": "dvcignore",
    ".dvc/config": "dvc-config",
}


class TemplatesHook(BuildHookInterface[Any]):
    """An editable installation reads the files in the checkout: a copy would be a second ``wordgaze`` on the path."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before a build of the ``standard`` or the ``editable`` version of the wheel."""
        if version == "standard":
            build_data["force_include"] |= {source: f"wordgaze/templates/{name}" for source, name in TEMPLATES.items()}
