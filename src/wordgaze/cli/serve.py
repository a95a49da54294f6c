"""The commands that serve a captioner: the web page and the HTTP server."""

import json
import os
from typing import Annotated, Literal

import typer

from wordgaze.cli.models import resolve_captioners
from wordgaze.cli.options import Host, Model, refuse_unused
from wordgaze.core.memory import limit_native_memory

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
    limit_native_memory()
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
    request_timeout: Annotated[
        float, typer.Option(min=0.1, max=3600, help="The most seconds of a request; then it is answered with 504.")
    ] = 60.0,
    max_queue: Annotated[
        int,
        typer.Option(min=1, help="The number of images in progress from which on requests are answered with 503."),
    ] = 256,
    batch_size: Annotated[
        int,
        typer.Option(
            min=1, max=256, help="The most images of concurrent requests that are captioned together; 1 is one by one."
        ),
    ] = 16,
    batch_wait: Annotated[
        float | None,
        typer.Option(
            min=0, max=1000, help="The most milliseconds that an image waits for others that arrive.", show_default="5"
        ),
    ] = None,
    log_format: Annotated[
        Literal["plain", "json"],
        typer.Option(help="The form of the log on standard output: a line for each request and caption."),
    ] = "plain",
) -> None:
    """Serve captions over HTTP, by the protocols of MLflow's scoring server and of KServe.

    Programs send images as base64 to POST /invocations. Of a registered model the captioner is read, and none of the
    code in the model is run.
    """
    limit_native_memory()
    from wordgaze.inference.predictions import PATHS_VARIABLE
    from wordgaze.serving.application import ServeSettings
    from wordgaze.serving.server import serve as serve_model
    from wordgaze.tracking.resolve import default_model

    refuse_unused(("--batch-wait", batch_wait is not None, batch_size > 1, "a --batch-size above 1"))
    address = model or default_model()
    settings = ServeSettings(
        request_timeout=request_timeout,
        max_queue=max_queue,
        max_batch=batch_size,
        max_wait=ServeSettings.max_wait if batch_wait is None else batch_wait / 1000,
        log_format=log_format,
        paths_allowed=os.environ.get(PATHS_VARIABLE) == "1",
    )
    serve_model(
        address,
        host,
        port,
        settings,
        lambda url: _print_ready(address, url, log_format),
        lambda line: _print_warning(line, log_format),
    )


def _print_warning(line: str, log_format: str) -> None:
    typer.echo(json.dumps({"event": "warning", "message": line}) if log_format == "json" else f"warning: {line}")


def _print_ready(address: str, url: str, log_format: str) -> None:
    if log_format == "json":
        typer.echo(json.dumps({"event": "ready", "model": address, "address": f"{url}/invocations"}))
    else:
        typer.echo(f"{address} answers at {url}/invocations; stop it with Ctrl-C")
