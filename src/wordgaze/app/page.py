"""The page: Gradio's components, the calls to the caption service, and the server. It makes no external requests."""

import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

# Before gradio is imported, which reads them once: it would announce its makers of each start.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr
from fastapi import FastAPI
from gradio import processing_utils, queueing, route_utils, routes
from gradio.events import api
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from wordgaze.app.about import about_captioner
from wordgaze.app.batch_tab import MAX_BATCHES, BatchHandlers
from wordgaze.app.caption_queue import CaptionQueue
from wordgaze.app.captioner_choice import CaptionerChoice
from wordgaze.app.controls import LABELS, RANGES, STRATEGIES, own_values
from wordgaze.app.corrections import Corrections
from wordgaze.app.event_values import log_failure
from wordgaze.app.examples import ExampleSets
from wordgaze.app.handlers import CaptionHandlers
from wordgaze.app.page_requests import API, PageRequests
from wordgaze.app.service import CaptionService
from wordgaze.core import paths
from wordgaze.core.leftovers import temporary_folder
from wordgaze.core.network import listen
from wordgaze.serving.web_guard import GuardSettings, WebGuard, guard_settings, warnings_of

MAX_UPLOAD = 512 * 2**20  # bytes of one upload, a zip of pictures being the largest
MAX_JSON = 4 * 2**20  # bytes of any other request; the largest is the table of a batch that is cancelled
POLICY = (
    # Gradio makes functions of the templates and scripts of gr.HTML, and writes styles and scripts into the page.
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; frame-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
"""The Content-Security-Policy: nothing comes from, goes to, or is framed by another site."""

MAX_QUEUE = 256  # requests that may wait; the next one is refused
CONCURRENCY = 32  # requests in progress; they take turns at the captioner, one strategy at a time
_CLEANUP_TRIES = 20
_delete_files = route_utils.delete_files_created_by_app
CLEANUP_INTERVAL, UPLOAD_LIFETIME = 600, 6 * 3600  # seconds
SESSIONS = 1000  # visitors whose settings are remembered
SYSTEM = ("system-ui", "sans-serif")
MONO = ("ui-monospace", "monospace")
_NUM_SHARED = 3  # controls before those that follow the captioner: captioner, others, minimum confidence
_HIDDEN: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
_RAW: dict[str, Any] = {**_HIDDEN, "preprocess": False}


def serve_page(service: CaptionService, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serves the page until it is interrupted; ``announce`` is called with the line that names the address, and before
    with what the operator should know.

    Raises WordgazeError where the address is not available, ParamsError where the environment's settings are not valid.
    """
    settings = replace(
        guard_settings(host, port),
        max_body=MAX_JSON,
        max_body_of=((f"{API}/upload", MAX_UPLOAD),),
        open_paths=frozenset({f"{API}/startup-events"}),  # which Gradio asks for itself, and which tells nothing
        policy=POLICY,
    )
    listen(host, port).close()  # Gradio's own message names neither option
    for line in warnings_of(host, settings):
        announce(f"warning: {line}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with temporary_folder(for_all=True) as folder:
        uploads, examples = folder / "uploads", folder / "examples"  # gone when the server is
        examples.mkdir()
        uploads.mkdir()
        os.environ["GRADIO_TEMP_DIR"] = str(uploads)
        os.environ["NO_PROXY"] = ",".join(filter(None, [os.environ.get("NO_PROXY"), host, "127.0.0.1", "localhost"]))
        # The folder of an upload is named by a hash of this and of its bytes: who has not got its address from the
        # server does not know it, even with the same picture.
        processing_utils.hash_seed = secrets.token_bytes(32)
        for module in (queueing, routes):
            module.traceback = _ShortTraceback  # type: ignore[attr-defined]
        route_utils.delete_files_created_by_app = delete_old_files
        corrections = Corrections(paths.home() / paths.CORRECTIONS)
        queue = CaptionQueue(paths.home() / paths.CAPTION_QUEUE, corrections)
        page = build(service, corrections, ExampleSets(examples, queue))
        page.launch(
            prevent_thread_lock=True,
            server_name=host,
            server_port=port,
            share=False,
            quiet=True,
            ssr_mode=False,
            _frontend=False,  # else it asks itself for the page and gives up after 3 s, which a busy machine needs
            enable_monitoring=False,
            run_history=False,
            footer_links=[],
            max_file_size=MAX_UPLOAD,
            max_threads=CONCURRENCY,
            state_session_capacity=SESSIONS,
            app_kwargs={
                "exception_handlers": {ClientDisconnect: _on_client_disconnect},
                "lifespan": _guarded(page, uploads, settings),
                "docs_url": None,
                "redoc_url": None,
                "openapi_url": None,
            },
            theme=gr.themes.Base(primary_hue="amber", neutral_hue="stone", font=SYSTEM, font_mono=MONO),
            css=_part("page.css"),
        )
        announce(f"{service.names[0]} at http://{host}:{port}; stop it with Ctrl-C")
        page.block_thread()


def delete_old_files(blocks: gr.Blocks, age: int | None) -> None:
    """As Gradio's function, which fails where an upload comes meanwhile; then nothing would be deleted any more."""
    for _ in range(_CLEANUP_TRIES):
        with suppress(RuntimeError):
            _delete_files(blocks, age)
            return


class _ShortTraceback:
    """In place of the module in Gradio, which prints the traceback of each value that it cannot read."""

    @staticmethod
    def print_exc() -> None:
        """Writes one line to the log about the exception that is handled."""
        if (error := sys.exception()) is not None:
            log_failure(error)


def _guarded(page: gr.Blocks, uploads: Path, settings: GuardSettings) -> Any:
    """What puts the checks around all that Gradio serves, its own middleware included, before the first request."""
    inputs: dict[int | str, int] = {}
    for number, event in page.fns.items():
        inputs[number] = len(event.inputs)
        if isinstance(event.api_name, str) and event.api_visibility == "public":
            inputs[event.api_name] = len(event.inputs)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        assert app.middleware_stack is not None
        app.middleware_stack = WebGuard(PageRequests(app.middleware_stack, uploads, inputs), settings)
        yield

    return lifespan


async def _on_client_disconnect(request: Request, error: Exception) -> Response:
    """A client that disconnects during an upload is not a server error, and is not logged as one."""
    return Response(status_code=499)


def build(service: CaptionService, corrections: Corrections, examples: ExampleSets) -> gr.Blocks:
    """The page with its endpoints, not yet served."""
    handlers, batch_handlers = CaptionHandlers(service, corrections, examples), BatchHandlers(service)
    choice = CaptionerChoice(service, examples)
    page = gr.Blocks(title="wordgaze", analytics_enabled=False, delete_cache=(CLEANUP_INTERVAL, UPLOAD_LIFETIME))
    with page:
        captioner, about = _header(service)
        state = gr.State(choice.state(service.names[0]))
        with gr.Tab("Caption"), gr.Row():
            with gr.Column(scale=1, min_width=260):
                picture, gallery = _picture(choice, captioner)
                with gr.Accordion("Settings", open=False):
                    settings = [captioner, *_settings(service)]
                again = gr.Button("Caption again", size="sm", elem_id="again")
            with gr.Column(scale=4, min_width=320, elem_id="stage"):
                view = _view(handlers, picture, settings, [picture.change, again.click, state.change])
        with gr.Tab("Batch"):
            _batch(batch_handlers, settings)
        gr.HTML(_api_text(), js_on_load=_part("api.js"), apply_default_css=False)
        own = settings[_NUM_SHARED:-1]
        loading = captioner.input(choice.loading, captioner, [about, view], trigger_mode="always_last", **_HIDDEN)
        # No generator: Gradio would tell of the new state, and caption, before the controls have the new values.
        loading.then(
            choice.chosen,
            [captioner, state, *own],
            [about, gallery, state, *own],
            trigger_mode="always_last",
            **_RAW,
        )
        for endpoint in (handlers.caption, handlers.attention, handlers.continue_caption):
            api(endpoint, api_name=endpoint.__name__)
    page.queue(max_size=MAX_QUEUE, default_concurrency_limit=CONCURRENCY)
    return page


def _header(service: CaptionService) -> tuple[gr.Dropdown, gr.HTML]:
    """The title, the choice of the captioner, and what is known of the one that answers."""
    with gr.Row(elem_id="header"):
        gr.HTML(
            '<header class="wg-title"><h1>word<em>gaze</em></h1>'
            "<p>Image captions and the attention of each word</p></header>",
            apply_default_css=False,
        )
        several = len(service.names) > 1
        captioner = gr.Dropdown(
            list(service.names),
            value=service.names[0],
            label="Captioner",
            filterable=False,
            visible=several,
            scale=0,
            min_width=260,
            elem_id="captioner",
        )
    about = gr.HTML(
        about_captioner(service, service.names[0]),
        html_template='<p class="wg-about" role="status">${value}</p>',
        apply_default_css=False,
        elem_id="about",
    )
    return captioner, about


def _picture(choice: CaptionerChoice, captioner: gr.Dropdown) -> tuple[gr.Image, gr.HTML]:
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
    gallery = gr.HTML(
        choice.examples(str(captioner.value)),
        html_template=_part("examples.html"),
        js_on_load=_part("examples.js"),
        apply_default_css=False,
        elem_id="examples",
    )
    gallery.choose(choice.example, captioner, picture, **_HIDDEN)
    return picture, gallery


def _settings(service: CaptionService) -> list[gr.components.Component]:
    """The controls after the captioner, in the order of :func:`wordgaze.app.controls.read_controls`."""
    names = list(service.names)
    strategies, name_objects, beams, captions, words, temperature, top_k, top_p, bad_words, force_words = own_values(
        service.captioner(names[0]).generation_config
    )
    return [
        gr.CheckboxGroup(
            names,
            label="Compare with",
            info="Captions side by side; in the tab Batch, one caption by all of them as an ensemble.",
            visible=len(names) > 1,
        ),
        gr.Slider(0, 1, 0, step=0.05, label="Minimum confidence", info="A caption below it is “unsure”."),
        gr.CheckboxGroup(
            list(STRATEGIES), value=strategies, label="Strategies", info="The tab Batch uses the first of them."
        ),
        gr.Checkbox(
            name_objects,
            label=LABELS["name_objects"],
            info="With the classifiers that the captioner has from its encoder.",
        ),
        gr.Slider(*RANGES["num_beams"], beams, step=1, label=LABELS["num_beams"]),
        gr.Slider(*RANGES["num_return_sequences"], captions, step=1, label=LABELS["num_return_sequences"]),
        gr.Slider(*RANGES["max_new_tokens"], words, step=1, label=LABELS["max_new_tokens"]),
        gr.Slider(*RANGES["temperature"], temperature, step=0.05, label=LABELS["temperature"]),
        gr.Slider(*RANGES["top_k"], top_k, step=1, label=LABELS["top_k"], info="Sampling; 0: all words"),
        gr.Slider(*RANGES["top_p"], top_p, step=0.05, label=LABELS["top_p"], info="Sampling; 1: all words"),
        gr.Textbox(bad_words, label=LABELS["bad_words"], placeholder="man, woman"),
        gr.Textbox(force_words, label=LABELS["force_words"], placeholder="dog|puppy, grass"),
        gr.Number(0, precision=0, minimum=0, label="Sampling seed"),
    ]


def _view(
    handlers: CaptionHandlers, picture: gr.Image, settings: list[gr.components.Component], triggers: list[Any]
) -> gr.HTML:
    """The picture and its captions, which each of the events ``triggers`` updates."""
    view = gr.HTML(
        html_template=_part("view.html"),
        js_on_load=_part("view.js"),
        apply_default_css=False,
        elem_id="view",
        mail=None,
    )
    given = [picture, *settings]
    # The picture comes as the file that was uploaded: Gradio's own preprocessing fails on a broken picture.
    # One listener for all: two at once would mix their captions on the page.
    gr.on(triggers, handlers.captions, given, view, trigger_mode="always_last", **_RAW)
    for event, answer in (
        (view.explain, handlers.explain),
        (view.complete, handlers.complete),
        (view.export_file, handlers.export_file),
        (view.correct, handlers.correct),
    ):
        event(answer, given, view, trigger_mode="multiple", **_RAW)
    return view


def _batch(batch_handlers: BatchHandlers, settings: list[gr.components.Component]) -> None:
    with gr.Row():
        given = gr.File(label="Pictures, or a zip of pictures", file_count="multiple", scale=3, elem_id="files")
        with gr.Column(scale=1, min_width=200):
            folder = gr.UploadButton("A whole folder …", file_count="directory", size="md")
            start = gr.Button("Caption all", variant="primary", size="md")
            cancel = gr.Button("Cancel", size="md")
    table = gr.HTML(
        html_template=_part("table.html"), js_on_load=_part("table.js"), apply_default_css=False, elem_id="table"
    )
    with gr.Row():
        tables = [gr.DownloadButton(label, interactive=False, size="md") for label in ("CSV", "JSON lines", "Parquet")]
    folder.upload(lambda names: names, folder, given, **_HIDDEN)
    run = start.click(
        batch_handlers.captions, [given, *settings], [table, *tables], concurrency_limit=MAX_BATCHES, **_HIDDEN
    )
    # In two steps: an update of the batch that is still on its way must not replace the note that it was cancelled.
    ended = cancel.click(None, cancels=[run], **_HIDDEN)
    ended.then(batch_handlers.cancelled, table, table, **_HIDDEN)


def _api_text() -> str:
    text = escape(_part("api.txt"))
    return f'<details class="wg-api"><summary>Use it from a program</summary><pre>{text}</pre></details>'


def _part(name: str) -> str:
    return files("wordgaze.app").joinpath(name).read_text(encoding="utf-8")
