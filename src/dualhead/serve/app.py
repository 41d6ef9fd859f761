"""The HTTP door: a recording is posted, what networks take it for comes back as JSON."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.resources import files
from pathlib import PurePath
from typing import Annotated, Any, Literal

import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect

import dualhead
from dualhead.data.datasets.skeletons import ENDINGS
from dualhead.layout import LAYOUTS
from dualhead.serve.worker import Computing, Ended, Late, Limits, Refused, Worker
from dualhead.settings.defaults import FORMATS, UNITS
from dualhead.settings.schema import closest

HOST = "127.0.0.1"
"""Nobody but programs on this machine may ask."""
NAMES = (HOST, "localhost", "testserver")
"""Hosts that a question may name, so that no foreign page can pass for this one."""
CONCURRENT = 16
"""Questions that may wait; more are turned away."""
NAME = re.compile(r"[^/\\\x00-\x1f]{1,200}")
PARAMETERS = ("name", "format", "layout", "unit", "fps", "width", "height", "window", "stride")
TOGETHER = {"width": "height", "height": "width", "stride": "window"}
"""Parameters that mean nothing without another one."""
ACCEPTED = (*ENDINGS, ".zip")
POLICY = "default-src 'none'; style-src '{}'; script-src '{}'; connect-src 'self'; base-uri 'none'; form-action 'none'"


class Guess(BaseModel):
    """A class and its probability."""

    number: int = Field(alias="class", description="from 1, as the datasets number theirs")
    probability: float


class Answer(BaseModel):
    """The class of a recording, or of a window of it, and its nearest rivals."""

    name: str
    first_frame: int | None = Field(None, description="of the window, from 0; with `window` alone")
    last_frame: int | None = None
    label: int | None = Field(None, description="its class where the recording says it, from 1")
    predicted: int = Field(description="from 1")
    class_name: str
    probability: float
    top5: list[Guess]


class Answers(BaseModel):
    """One answer a recording, or one a window."""

    answers: list[Answer]


class Facts(BaseModel):
    """Facts about the networks: their recordings and classes."""

    version: str
    checkpoints: list[str]
    modalities: list[str]
    layout: str
    joints: list[str]
    classes: list[str]
    num_classes: int
    preparation: dict[str, Any] | None
    megabytes: float = Field(description="that a recording may have")
    seconds: float = Field(description="that an answer may take")


class Refusal(BaseModel):
    """Reason for which there is no answer, in one line."""

    detail: str


Rate = Annotated[float | None, Query(gt=0, lt=10_000, description="frames a second")]
Pixels = Annotated[int | None, Query(ge=1, le=100_000, description="of the picture")]
Frames = Annotated[int | None, Query(ge=1, le=1_000_000)]
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {
        "model": Refusal,
        "description": "The recording cannot be read, or not by these networks.",
    },
    408: {"model": Refusal, "description": "It did not come whole in time."},
    413: {"model": Refusal, "description": "It is larger than it may be."},
    415: {"model": Refusal, "description": "It is sent as a form, or compressed on the way."},
    422: {"model": Refusal, "description": "A parameter is wrong."},
    500: {"model": Refusal, "description": "The process that answers ended; another begins."},
    503: {"model": Refusal, "description": "There was no answer in time."},
}
BODY = {
    "requestBody": {
        "required": True,
        "description": "The recording's file as it is.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def make_app(worker: Worker, limits: Limits) -> FastAPI:
    """Return the application that asks a worker.

    Args:
        worker: holds the networks; it is stopped with the application.
        limits: bounds of one question.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        worker.stop()

    app = FastAPI(
        title="DualHead",
        description="What trained networks take a skeleton recording for.",
        version=dualhead.__version__,
        docs_url=None,  # whose scripts come from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*NAMES])
    app.add_exception_handler(RequestValidationError, _refuse_parameter)
    app.add_api_route("/", _page, include_in_schema=False)
    app.add_api_route("/docs", _page, include_in_schema=False)
    app.add_api_route("/network", partial(_network, worker, limits), **_route(_network, Facts, {}))
    predict = _predict_route(worker, limits)
    route = _route(predict, Answers, REFUSALS)
    app.add_api_route("/predict", predict, methods=["POST"], openapi_extra=BODY, **route)
    return app


def _route(
    function: Callable[..., Any], model: type[BaseModel], refusals: dict[int | str, dict[str, Any]]
) -> dict[str, Any]:
    """Return the description of a function's route."""
    return {
        "name": function.__name__.strip("_"),
        "description": (function.__doc__ or "").strip(),
        "response_model": model,
        "response_model_exclude_unset": True,
        "responses": refusals,
    }


async def _refuse_parameter(_: Request, error: Exception) -> JSONResponse:
    """Return the fault of a parameter, in one line."""
    assert isinstance(error, RequestValidationError), "what it is for"
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"][1:]))
    return JSONResponse({"detail": f"{where}: {first['msg']}"}, 422)


def _page() -> HTMLResponse:
    """Return the page that describes the routes and tries them."""
    text = (files("dualhead.serve") / "page.html").read_text(encoding="utf-8")
    hashes = []
    for tag in ("style", "script"):
        source = text.split(f"<{tag}>")[1].split(f"</{tag}>")[0]
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        hashes.append(f"sha256-{digest}")
    return HTMLResponse(text, headers={"Content-Security-Policy": POLICY.format(*hashes)})


def _network(worker: Worker, limits: Limits) -> Facts:
    """Return the recordings and classes of the networks, and the limits of what may be asked."""
    return Facts(version=dualhead.__version__, **limits._asdict(), **worker.facts)


def _predict_route(worker: Worker, limits: Limits) -> Callable[..., Any]:
    async def predict(
        request: Request,
        name: Annotated[str, Query(description="of the file; its ending counts, as in walk.json")],
        format: Literal[FORMATS] | None = None,  # type: ignore[valid-type]
        layout: Literal[tuple(LAYOUTS)] | None = None,  # type: ignore[valid-type]
        unit: Literal[UNITS] | None = None,  # type: ignore[valid-type]
        fps: Rate = None,
        width: Pixels = None,
        height: Pixels = None,
        window: Frames = None,
        stride: Frames = None,
    ) -> dict[str, Any]:
        """Return the classes of a recording: any form that `dualhead predict` reads, or a zip of it."""
        said = {"format": format, "layout": layout, "unit": unit, "fps": fps}
        said |= {
            "window": window,
            "stride": stride,
            "picture": (width, height) if width and height else None,
        }
        _check_name(name)
        _check_request(request)
        content = await _body(request, limits)
        known = {key: value for key, value in said.items() if value is not None}
        try:
            return {"answers": await run_in_threadpool(worker.ask, content, name, known)}
        except Refused as error:
            raise HTTPException(400, str(error)) from None
        except Ended as error:
            raise HTTPException(500, str(error)) from None
        except Late as error:
            raise HTTPException(503, str(error), {"Retry-After": "5"}) from None

    return predict


def _check_name(name: str) -> None:
    ending = PurePath(name).suffix.lower()
    if (
        not NAME.fullmatch(name)
        or len(name.encode()) > 200
        or name.startswith(".")
        or ending not in ACCEPTED
    ):
        raise HTTPException(
            400,
            f"name: expected a file's name that ends in {', '.join(ACCEPTED)}; found {name[:60]!r}",
        )


def _check_request(request: Request) -> None:
    """Refuse parameters that would change nothing, and a body that is not the file as it is."""
    given = [key for key, _ in request.query_params.multi_items()]
    for key in given:
        if key not in PARAMETERS:
            raise HTTPException(422, f"{key}: no such parameter{closest(key, PARAMETERS)}")
        if given.count(key) > 1:
            raise HTTPException(422, f"{key}: expected it once, found it {given.count(key)} times")
        if TOGETHER.get(key, key) not in given:
            raise HTTPException(422, f"{key}: expected {TOGETHER[key]} beside it, found none")
    kind, coding = (request.headers.get(it, "") for it in ("content-type", "content-encoding"))
    if kind.startswith("multipart/") or coding not in ("", "identity"):
        found = f"one in the coding {coding}" if coding else "a form"
        raise HTTPException(
            415, f"expected the file as it is (curl --data-binary @FILE), found {found}"
        )


async def _body(request: Request, limits: Limits) -> bytes:
    """Return a request's body; refuse one that is larger, or takes longer, than it may."""
    found = bytearray()
    try:
        async with asyncio.timeout(limits.seconds):
            async for piece in request.stream():
                found += piece
                if len(found) > limits.num_bytes:
                    raise HTTPException(
                        413,
                        f"expected a recording of at most {limits.megabytes:g} MB, found more; serve "
                        "with more --megabytes",
                    )
    except ClientDisconnect:
        raise HTTPException(
            400, "expected the whole recording, found that its sender left"
        ) from None
    except TimeoutError:
        raise HTTPException(
            408, f"expected the whole recording within {limits.seconds:g} seconds; send it again"
        ) from None
    if not found:
        raise HTTPException(400, "expected a recording as the request's body, found nothing")
    return bytes(found)


def serve(computing: Computing, *, port: int, limits: Limits) -> None:
    """Answer until the keyboard or a signal ends it.

    Args:
        computing: the networks, and what they compute on.
        port: TCP port of 127.0.0.1; 0: any that is free.
        limits: bounds of one question.

    Raises:
        ValueError: if the networks cannot be loaded.
        OSError: if the port is taken.
    """
    with socket.create_server((HOST, port)) as door:
        worker = Worker(computing, limits)
        where = f"http://{HOST}:{door.getsockname()[1]}"
        print(f"{where} answers, and describes itself; Ctrl-C ends it", flush=True)
        config = uvicorn.Config(
            make_app(worker, limits), log_level="warning", limit_concurrency=CONCURRENT
        )
        uvicorn.Server(config).run(sockets=[door])
