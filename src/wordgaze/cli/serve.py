"""The commands that serve a captioner: the web page and the HTTP server."""

from typing import Annotated

import typer

from wordgaze.cli.models import resolve_captioners
from wordgaze.cli.options import Host, Model

PANEL = "Serving"

app = typer.Typer()


@app.command("app", rich_help_panel=PANEL)
def page(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="A captioner folder, photos, or an address of the registry such as models:/captioner@champion. Repeat "
            "it for several; the page opens with the first, by default the champion, else your newest in models/ for "
            "photographs, else photos, and also offers the others.",
        ),
    ] = None,
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port.")] = 7860,
) -> None:
    """Serve the web page, where images are captioned and captions are explained and corrected."""
    from wordgaze.app.service import CaptionService

    addresses = [each.address for each in resolve_captioners(model)]
    service = CaptionService.open(addresses)  # before gradio, whose import takes seconds
    from wordgaze.app.page import serve_page

    serve_page(service, host, port, typer.echo)


@app.command(rich_help_panel=PANEL)
def serve(
    model: Model = None,
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 is any free one.")] = 5001,
) -> None:
    """Serve captions over HTTP with MLflow's scoring server.

    Programs send images as base64 to POST /invocations.
    """
    from wordgaze.tracking.resolve import default_model
    from wordgaze.tracking.server import serve as serve_model

    address = model or default_model()  # not resolved: the server loads a registered model with the code that it has
    serve_model(
        address, host, port, lambda url: typer.echo(f"{address} answers at {url}/invocations; stop it with Ctrl-C")
    )
