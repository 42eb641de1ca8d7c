"""The server's half of the tab: answers the page's requests; reads, but never writes."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from tensorboard import plugin_util
from tensorboard.backend import http_util
from tensorboard.plugins import base_plugin
from werkzeug.wrappers import Request, Response

from lightning_ablationcam.records.format import PLUGIN_NAME, picture_type
from lightning_ablationcam.records.series import (
    VERSION,
    NothingToShowError,
    Series,
    page_data,
    page_news,
)
from lightning_ablationcam.tensorboard_plugin.page import CONTENT_TYPES, ENTRY, read_file
from lightning_ablationcam.tensorboard_plugin.reading import Source, list_series, read_again
from lightning_ablationcam.tensorboard_plugin.recent import Kept, RecentSeries

# Long, because a picture's address contains a digest of its content.
_PICTURE_EXPIRES = 24 * 60 * 60

_BYTES = "application/octet-stream"

_Answer = Callable[[Request], Response]


class _RefusedError(Exception):
    """A request that gets no data.

    Args:
        code: HTTP status, 4xx.
        message: What is wrong with the request.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class AblationCAMPlugin(base_plugin.TBPlugin):  # type: ignore[misc]
    """Serves the page and its data.

    Args:
        context: TensorBoard's ``TBContext``; only the parts that both of its loaders set are used.
    """

    plugin_name = PLUGIN_NAME

    def __init__(self, context: base_plugin.TBContext) -> None:
        self._provider = context.data_provider
        self._logdir = context.logdir
        self._hints: Mapping[str, int] = context.sampling_hints or {}
        self._recent = RecentSeries()

    def get_plugin_apps(self) -> dict[str, Any]:
        """The routes below ``/data/plugin/ablation_cam``, each a WSGI application."""
        answers: dict[str, _Answer] = {
            "/series": self._series,
            "/data": self._data,
            "/maps": self._maps,
            "/numbers": self._numbers,
            "/picture": self._picture,
        }
        # A route for each file by its name: no part of a request ever becomes a path.
        for name, kind in CONTENT_TYPES.items():
            answers[f"/{name}"] = _static(name, kind)
        return {route: _application(answer) for route, answer in answers.items()}

    def is_active(self) -> bool:
        """TensorBoard asks its data provider who has data, and calls this only if that fails."""
        return False

    def frontend_metadata(self) -> Any:
        """Where the page is and what its tab is called."""
        return base_plugin.FrontendMetadata(es_module_path=f"/{ENTRY}", tab_name="Ablation-CAM")

    def _series(self, request: Request) -> Response:
        series = list_series(self._source(request))
        answer = {
            "version": VERSION,
            "series": [{"run": run, "tag": tag} for run, tag in series],
            "message": None if series else self._what_to_do(),
        }
        return _json(request, answer)

    def _data(self, request: Request) -> Response:
        run, tag = _parameters(request, "run", "tag")
        series = self._read(self._source(request), run, tag).series
        at = {"run": run, "tag": tag}
        seen = {**at, "fingerprint": series.probes.fingerprint}
        # Equal probes can look different: their fingerprint does not cover how they are shown.
        pictures = [
            _address("picture", **seen, index=index, v=_digest(picture))
            for index, picture in enumerate(series.probes.pictures)
        ]
        at_key = {**at, "key": series.key}
        also = {role: _address("maps", **at_key, role=role) for role in series.roles}
        against = {
            role: _address("maps", **at_key, role=role, side="against")
            for role in series.signed_roles
        }
        addresses: dict[str, Any] = {
            "maps": _address("maps", **at_key),
            "also_maps": also,
            "against_maps": against,
        }
        if "known" in request.args:
            # So asks the page; whoever wants all of it in one answer does not.
            known = request.args["known"].split(".")
            numbers = _address("numbers", **at_key)
            data = page_news(series, known, pictures=pictures, numbers=numbers, **addresses)
        else:
            data = page_data(series, pictures=pictures, **addresses)
        return _json(request, {**data, "notes": [*series.notes, *self._on_sampling()]})

    def _maps(self, request: Request) -> Response:
        series, start, stop = self._part(request)
        role, side = request.args.get("role", ""), request.args.get("side", "for")
        roles = {"for": ("", *series.roles), "against": series.signed_roles}
        if role not in roles.get(side, ()):
            raise _RefusedError(404, "There are no such maps.")
        maps = series.maps_from(start, role, against=side == "against", stop=stop)
        return _respond(request, maps, _BYTES)

    def _numbers(self, request: Request) -> Response:
        series, start, stop = self._part(request)
        # Digits of numbers hardly compress, and there are many.
        return _respond(request, series.numbers(start, stop), _BYTES, compress=False)

    def _part(self, request: Request) -> tuple[Series, int, int]:
        """The series, while the steps of a key are the same, and which of them are asked for."""
        run, tag, key = _parameters(request, "run", "tag", "key")
        series = self._found(request, run, tag, lambda recent: key in recent.keys)
        if key not in series.keys:
            raise _RefusedError(409, "The run has changed; ask for its data again.")
        count = series.keys.index(key)
        start = _index(request, "from") if "from" in request.args else 0
        stop = _index(request, "to") if "to" in request.args else count
        for name, index in (("from", start), ("to", stop)):
            if index > count:
                raise _RefusedError(400, f"Parameter {name} is {index} of {count} steps.")
        return series, start, stop

    def _picture(self, request: Request) -> Response:
        run, tag, fingerprint = _parameters(request, "run", "tag", "fingerprint")
        index = _index(request, "index")
        series = self._found(
            request, run, tag, lambda recent: recent.probes.fingerprint == fingerprint
        )
        pictures = series.probes.pictures
        if series.probes.fingerprint != fingerprint or index >= len(pictures):
            raise _RefusedError(404, "There is no such picture.")
        picture = pictures[index]
        return _respond(request, picture, picture_type(picture), expires=_PICTURE_EXPIRES)

    def _found(
        self, request: Request, run: str, tag: str, fits: Callable[[Series], bool]
    ) -> Series:
        """The series as the page last got it, if that one fits, else as it is now."""
        source = self._source(request)
        recent = self._recent.get((source.experiment, run, tag))
        if recent is not None and fits(recent.series):
            return recent.series
        return self._read(source, run, tag).series

    def _read(self, source: Source, run: str, tag: str) -> Kept:
        """The series as it is now, which is kept; no pass that was kept is decoded again."""
        place = (source.experiment, run, tag)
        recent = self._recent.get(place)
        try:
            kept = read_again(source, run, tag, recent.records if recent else {})
        except NothingToShowError as error:
            raise _RefusedError(404, str(error)) from error
        self._recent.keep(place, kept)
        return kept

    def _source(self, request: Request) -> Source:
        environ = request.environ
        return Source(
            self._provider, plugin_util.context(environ), plugin_util.experiment_id(environ)
        )

    def _what_to_do(self) -> str:
        place = f" in {self._logdir}" if self._logdir else ""
        return (
            f"There is no Ablation-CAM data{place} yet. It comes with the first validation of a "
            "Trainer that has an AblationCAMMonitor and a TensorBoardLogger, where TensorBoard's "
            "log directory is the folder that the logger writes to."
        )

    def _on_sampling(self) -> list[str]:
        most = self._hints.get(PLUGIN_NAME)
        if not most:
            return []
        return [
            f"TensorBoard was started with --samples_per_plugin={PLUGIN_NAME}={most}: it keeps "
            "that many steps of a longer series, chosen at random."
        ]


def _application(answer: _Answer) -> Any:
    """A WSGI application that answers GET, and answers refused requests with 4xx and a reason."""

    @Request.application
    def application(request: Request) -> Response:
        try:
            if request.method != "GET":
                raise _RefusedError(405, f"Only GET is answered, not {request.method}.")
            return answer(request)
        except _RefusedError as refused:
            headers = [("Allow", "GET")] if refused.code == 405 else []
            response: Response = http_util.Respond(
                request,
                json.dumps({"error": str(refused)}),
                "application/json",
                code=refused.code,
                headers=headers,
            )
            return response

    return application


def _static(name: str, kind: str) -> _Answer:
    def answer(request: Request) -> Response:
        return _respond(request, read_file(name), kind)

    return answer


def _parameters(request: Request, *names: str) -> list[str]:
    """The value of each parameter, each of which must be given exactly once."""
    values = []
    for name in names:
        given = request.args.getlist(name)
        if len(given) != 1:
            raise _RefusedError(400, f"Parameter {name} is given {len(given)} times; expected 1.")
        values.extend(given)
    return values


def _index(request: Request, name: str) -> int:
    (text,) = _parameters(request, name)
    # More digits than any index has; Python refuses to convert thousands of them.
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise _RefusedError(400, f"Parameter {name} is no index.")
    return int(text)


def _address(route: str, **parameters: object) -> str:
    return f"{route}?{urlencode(parameters)}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _json(request: Request, answer: dict[str, Any]) -> Response:
    # Not by TensorBoard's function, which walks through all of it in Python and makes NaN text.
    text = json.dumps(answer, separators=(",", ":"), allow_nan=False)
    return _respond(request, text.encode("ascii"), "application/json")


class _Unchanged(Response):
    """304: the browser has this already. Sets its type, as TensorBoard requires of every answer."""

    def get_wsgi_headers(self, environ: Any) -> Any:
        headers = super().get_wsgi_headers(environ)
        headers["Content-Type"] = self.content_type
        return headers


def _respond(
    request: Request, content: bytes, kind: str, *, compress: bool = True, **options: Any
) -> Response:
    tag = _digest(content)
    response: Response
    if request.if_none_match.contains_weak(tag):
        headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
        response = _Unchanged(status=304, content_type=kind, headers=headers)
    else:
        if kind == _BYTES and compress:
            # TensorBoard compresses text itself, and decompresses this for clients without gzip.
            content, options["content_encoding"] = gzip.compress(content, 1, mtime=0), "gzip"
        response = http_util.Respond(request, content, kind, **options)
    response.set_etag(tag, weak=True)
    return response
