"""A server without a socket: its application, asked in the process of the tests."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from PIL import Image

from tests.tracking.conftest import captioner, fresh_project, project, white_picture
from wordgaze.serving.application import CaptionServer, ServeSettings, build_application
from wordgaze.serving.served_model import ServedModel
from wordgaze.serving.web_guard import GuardSettings

__all__ = ["captioner", "fresh_project", "project", "white_picture"]
T = TypeVar("T")


@pytest.fixture(scope="session")
def served_model(tmp_path_factory: pytest.TempPathFactory, write_captioner: Callable[..., Path]) -> ServedModel:
    """A tiny captioner, loaded for a server."""
    return ServedModel.load(str(write_captioner(tmp_path_factory.mktemp("served") / "tiny")))


def encoded(shade: int) -> str:
    """A grey picture as base64."""
    file = BytesIO()
    Image.linear_gradient("L").point(lambda value: (value + shade) % 256).resize((40, 30)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


class Client:
    """Asks the application of a server."""

    def __init__(self, server: CaptionServer, http: httpx.AsyncClient) -> None:
        self.server, self.http = server, http

    async def captions(self, *images: str, **params: Any) -> httpx.Response:
        body = {"dataframe_records": [{"image": image} for image in images], "params": params}
        return await self.http.post("/invocations", json=body)


Served = Callable[..., Any]


@pytest.fixture
def serve_to(served_model: ServedModel) -> Served:
    """``serve_to(ask, ...)`` runs ``ask(client)`` against a server with these ServeSettings."""

    def serve_to(ask: Callable[[Client], Awaitable[T]], guard: GuardSettings | None = None, **settings: Any) -> T:
        async def run() -> T:
            server = CaptionServer(served_model, ServeSettings(**settings))
            app = build_application(server, guard or GuardSettings())
            transport = httpx.ASGITransport(app=app)
            async with server.run(app), httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
                return await ask(Client(server, http))

        return asyncio.run(run())

    return serve_to
