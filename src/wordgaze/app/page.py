"""The page itself: Gradio's parts, what they ask of the service, and the server. Nothing hypotheses this machine."""

import os
import signal
import tempfile
from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

# Before gradio is imported, which reads them once: it would tell its makers of each start.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr
from gradio.events import api
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from wordgaze.app.batch_tab import BatchHandlers
from wordgaze.app.corrections import Corrections
from wordgaze.app.examples import example_pictures
from wordgaze.app.handlers import CaptionHandlers
from wordgaze.app.service import CaptionService
from wordgaze.core import paths
from wordgaze.generation.config import GenerationConfig

UPLOAD = "512mb"  # of one file, a zip of pictures being the largest
WAITING = 256  # requests that may wait; who comes then is told to come again
AT_ONCE = 32  # requests in work: each waits its turn at the captioner, strategy by strategy
CLEANING, KEEPING = 600, 6 * 3600  # seconds: how often uploads are looked through, and how long one is kept
SESSIONS = 1000  # visitors whose settings are remembered
SYSTEM = ("system-ui", "sans-serif")
MONO = ("ui-monospace", "monospace")
DEFAULTS = GenerationConfig()
_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def serve(service: CaptionService, host: str, port: int, tell: Callable[[str], None]) -> None:
    """Serves the page until it is interrupted; ``tell`` gets the line that says where. Raises OSError where the port
    is taken."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="wordgaze-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # uploads: gone when the server is
        os.environ["NO_PROXY"] = ",".join(filter(None, [os.environ.get("NO_PROXY"), host, "127.0.0.1", "localhost"]))
        page = build(service, Corrections(paths.home() / paths.CORRECTIONS), example_pictures(Path(folder)))
        page.launch(
            prevent_thread_lock=True,
            server_name=host,
            server_port=port,
            share=False,
            quiet=True,
            ssr_mode=False,
            enable_monitoring=False,
            run_history=False,
            footer_links=[],
            max_file_size=UPLOAD,
            max_threads=AT_ONCE,
            state_session_capacity=SESSIONS,
            app_kwargs={"exception_handlers": {ClientDisconnect: _left}},
            theme=gr.themes.Base(primary_hue="amber", neutral_hue="stone", font=SYSTEM, font_mono=MONO),
            css=_part("page.css"),
        )
        names = ", ".join(model.name for model in service.models)
        tell(f"{names} at http://{host}:{port}; stop it with Ctrl-C")
        page.block_thread()


async def _left(request: Request, error: Exception) -> Response:
    """Somebody who went away before all was sent is no fault of the server's, to be logged as one."""
    return Response(status_code=499)


def build(service: CaptionService, corrections: Corrections, examples: Sequence[Path]) -> gr.Blocks:
    """The page with its endpoints, not yet served."""
    handlers, batch_handlers = CaptionHandlers(service, corrections), BatchHandlers(service)
    page = gr.Blocks(title="wordgaze", analytics_enabled=False, delete_cache=(CLEANING, KEEPING))
    with page:
        gr.HTML(_title(service), apply_default_css=False)
        with gr.Tab("Caption"), gr.Row():
            with gr.Column(scale=1, min_width=260):
                picture = _picture(examples)
                with gr.Accordion("Settings", open=False):
                    settings = _settings(service)
                    again = gr.Button("Say it again", size="sm")
            with gr.Column(scale=4, min_width=320):
                _view(handlers, picture, settings, again)
        with gr.Tab("Batch"):
            _batch(batch_handlers, settings)
        gr.HTML(_api_text(), apply_default_css=False)
        for endpoint in (handlers.caption, handlers.attention, handlers.continue_caption):
            api(endpoint, api_name=endpoint.__name__)
    page.queue(max_size=WAITING, default_concurrency_limit=AT_ONCE)
    return page


def _picture(examples: Sequence[Path]) -> gr.Image:
    picture = gr.Image(
        sources=["upload", "clipboard", "webcam"],
        type="filepath",
        height=190,
        label="Picture",
        show_label=False,
        buttons=[],
        elem_id="picture",
        alt_text="The picture that you gave",
        placeholder="Drop a picture here\n- or -\nClick to choose one",
    )
    gr.Examples([[str(path)] for path in examples], picture, label="Or take one of these", elem_id="examples")
    return picture


def _settings(service: CaptionService) -> list[gr.components.Component]:
    """The controls, in the order of :data:`wordgaze.app.handlers.SETTINGS`."""
    names = [model.name for model in service.models]
    return [
        gr.CheckboxGroup(names, value=names[:1], label="Models", visible=len(names) > 1),
        gr.Slider(1, 20, DEFAULTS.num_beams, step=1, label="Beam width"),
        gr.Slider(1, 5, 1, step=1, label="Captions of each strategy"),
        gr.Slider(1, 50, DEFAULTS.max_new_tokens, step=1, label="Words at most"),
        gr.Slider(0, 2, 1, step=0.05, label="Temperature of sampling"),
        gr.Slider(0, 100, 0, step=1, label="Top-k of sampling (0: all words)"),
        gr.Slider(0.05, 1, 1, step=0.05, label="Top-p of sampling (1: all words)"),
        gr.Textbox(label="Words not to say", placeholder="man, woman"),
        gr.Textbox(label="Words to say", placeholder="dog|puppy, grass"),
        gr.Number(0, precision=0, minimum=0, label="Seed of what is sampled"),
    ]


def _view(
    handlers: CaptionHandlers, picture: gr.Image, settings: list[gr.components.Component], again: gr.Button
) -> None:
    view = gr.HTML(
        html_template=_part("view.html"),
        js_on_load=_part("view.js"),
        apply_default_css=False,
        elem_id="view",
        mail=None,
    )
    given = [picture, *settings]
    # The picture comes as the file that was uploaded: what Gradio would make of it fails on a broken one.
    raw: dict[str, Any] = {**_QUIET, "preprocess": False}
    gr.on([picture.change, again.click], handlers.captions, given, view, trigger_mode="always_last", **raw)
    for event, answer in (
        (view.look, handlers.look),
        (view.other, handlers.other),
        (view.take, handlers.take),
        (view.correct, handlers.correct),
    ):
        event(answer, given, view, trigger_mode="multiple", **raw)


def _batch(batch_handlers: BatchHandlers, settings: list[gr.components.Component]) -> None:
    with gr.Row():
        given = gr.File(label="Pictures, or a zip of pictures", file_count="multiple", scale=3, elem_id="files")
        with gr.Column(scale=1, min_width=200):
            folder = gr.UploadButton("A whole folder …", file_count="directory", size="md")
            start = gr.Button("Caption them", variant="primary", size="md")
            cancel = gr.Button("Cancel", size="md")
    table = gr.HTML(
        html_template=_part("table.html"), js_on_load=_part("table.js"), apply_default_css=False, elem_id="table"
    )
    with gr.Row():
        tables = [gr.DownloadButton(label, interactive=False, size="md") for label in ("CSV", "JSON lines", "Parquet")]
    folder.upload(lambda names: names, folder, given, **_QUIET)
    run = start.click(batch_handlers.captions, [given, *settings], [table, *tables], **_QUIET)
    cancel.click(batch_handlers.cancelled, table, table, cancels=[run], **_QUIET)


def _title(service: CaptionService) -> str:
    models = " · ".join(f"{escape(model.name)} <small>{escape(model.version)}</small>" for model in service.models)
    return (
        '<header class="wg-title"><h1>word<em>gaze</em></h1>'
        f"<p>Captions, and where each word looked</p><p>{models}</p></header>"
    )


def _api_text() -> str:
    text = escape(_part("api.txt"))
    return f'<details class="wg-api"><summary>Use it from a program</summary><pre>{text}</pre></details>'


def _part(name: str) -> str:
    return files("wordgaze.app").joinpath(name).read_text(encoding="utf-8")
