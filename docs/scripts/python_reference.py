"""The reference of the Python API: an entry of mkdocstrings for each public name."""

_HEAD = """# Python API

These names are public: `import wordgaze` gives them, and they follow the version number. The import itself is quick;
torch is imported when a name is first used. Everything else in the package may change between versions.
"""


def render() -> str:
    """The page in Markdown."""
    import wordgaze

    names = [name for name in wordgaze.__all__ if not name.startswith("__")]
    return "\n".join([_HEAD, *(_entry(name) for name in names)])


def _entry(name: str) -> str:
    """Public names are imported lazily, which mkdocstrings cannot follow, so the entry names the defining module."""
    import wordgaze

    value = getattr(wordgaze, name)
    title = f"wordgaze.{name}"
    return (
        f"::: {value.__module__}.{value.__qualname__}\n    options:\n      heading: {title}\n      toc_label: {title}\n"
    )
