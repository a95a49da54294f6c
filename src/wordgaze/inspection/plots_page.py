"""The page of ``dvc plots show`` and ``diff`` with Vega in it. DVC's own page loads Vega from the network."""

from pathlib import Path

from wordgaze.core.files import write_text

PLOTS_PAGE = Path("plots.html")
"""The page, in the folder ``.dvc``, from which DVC's setting ``plots.html_template`` starts."""

# DVC replaces the names in braces. Its page also has {scripts}, which are the addresses of Vega.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{refresh_tag}
<title>Plots</title>
<script>VEGA</script>
<style>body { font-family: sans-serif; } table { border-spacing: 15px; } img { max-width: 90vw; }</style>
</head>
<body>
{plot_divs}
</body>
</html>
"""

_EXPORT = "window.vegaEmbed = vegaEmbed;"  # the name that DVC calls


def write_plots_page(folder: Path) -> Path:
    """Writes the page into the folder ``.dvc`` of a project, with the Vega that vl-convert contains."""
    import vl_convert

    path = folder / PLOTS_PAGE
    write_text(path, _PAGE.replace("VEGA", vl_convert.javascript_bundle(_EXPORT)))
    return path
