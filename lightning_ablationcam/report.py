"""The tab's page in one file that opens from disk: to share, or where there is no TensorBoard.

From a shell: ``python -m lightning_ablationcam.report LOGDIR report.html``.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import html
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext

from lightning_ablationcam.arguments import check_path, shown
from lightning_ablationcam.files import replaced
from lightning_ablationcam.recording import heat_record, probes_record
from lightning_ablationcam.records import PLUGIN_NAME, picture_type
from lightning_ablationcam.series import (
    VERSION,
    NothingToShowError,
    Series,
    Stamped,
    assemble,
    page_data,
)
from lightning_ablationcam.tensorboard_plugin.page import STYLE, joined_modules, read_file
from lightning_ablationcam.tensorboard_plugin.reading import Source, list_series, read_series

if TYPE_CHECKING:
    from lightning_ablationcam.history import History, Scale
    from lightning_ablationcam.probes import ProbeSet

# Nothing from outside; of scripts only the page itself, whatever names and notes contain.
_POLICY = (
    "default-src 'none'; script-src '{script}'; style-src 'unsafe-inline'; "
    "img-src data: blob:; connect-src data: blob:"
)

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<script type="application/json" id="ablation-cam-data">{data}</script>
<script type="module">{script}</script>
</body>
</html>
"""


class Monitor(Protocol):
    """What a report needs of an :class:`~lightning_ablationcam.AblationCAMMonitor`."""

    tag: str
    scale: Scale
    score: Any

    @property
    def history(self) -> History:
        """What it saw."""

    @property
    def probes(self) -> ProbeSet | None:
        """What it watches."""


def write_report(source: str | Path | Monitor, path: str | Path) -> Path:
    """Write the page of the tab, with everything in it, as one HTML file.

    The file needs no server, no network and no TensorBoard. It is about a third larger than the
    maps and pictures it holds.

    Args:
        source: A log directory, of which all runs are shown, or an
            :class:`~lightning_ablationcam.AblationCAMMonitor`, of which the passes in its history
            are.
        path: The file to write; one that is there is replaced, once the new one is complete.

    Returns:
        ``path``.

    Raises:
        TypeError: If ``source`` is neither, or ``path`` no path.
        FileNotFoundError: If there is no such log directory, or the folder of ``path`` is missing.
        NotADirectoryError: If ``source`` is a file.
        IsADirectoryError: If ``path`` is a folder.
        ValueError: If nothing was recorded, or no file can have the ``path``.

    Example:
        >>> write_report("no_such_logs", "report.html")
        Traceback (most recent call last):
        FileNotFoundError: source='no_such_logs': there is no such directory; give the one that
        tensorboard --logdir gets
    """
    target = check_path("path", path)
    if target.is_dir():
        raise IsADirectoryError(
            f"path={shown(str(path))} is a folder; name a file, such as report.html"
        )
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"path={shown(str(path))}: there is no folder {shown(str(target.parent))}; create it "
            "first"
        )
    if isinstance(source, (str, Path)):
        directory = check_path("source", source)
        series, name = _of_directory(directory), directory.resolve().name
    elif hasattr(source, "history") and hasattr(source, "probes") and not isinstance(source, type):
        series, name = [_of_monitor(source)], source.tag
    else:
        raise TypeError(
            f"source={shown(source)}; expected a log directory or an AblationCAMMonitor"
        )
    with replaced(target) as partial:
        partial.write_text(_page(series, name), encoding="utf-8", newline="\n")
    return target


def _of_directory(directory: Path) -> list[Series]:
    if not directory.exists():
        raise FileNotFoundError(
            f"source={shown(str(directory))}: there is no such directory; give the one that "
            "tensorboard --logdir gets"
        )
    if not directory.is_dir():
        raise NotADirectoryError(
            f"source={shown(str(directory))} is a file; give the directory it is in"
        )
    # Of other plugins' data one record a tag is enough; of ours every one is needed.
    multiplexer = EventMultiplexer(
        size_guidance={"tensors": 1}, tensor_size_guidance={PLUGIN_NAME: 0}
    )
    multiplexer.AddRunsFromDirectory(str(directory))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(directory))
    source = Source(provider, RequestContext(), "")
    series, problems = [], []
    for run, tag in list_series(source):
        try:
            series.append(read_series(source, run, tag))
        except NothingToShowError as error:
            problems.append(str(error))
    if not series:
        message = (
            f"source={shown(str(directory))} holds no Ablation-CAM data that can be shown. Train "
            "with an AblationCAMMonitor and a TensorBoardLogger that writes there."
        )
        raise ValueError(" ".join([message, *problems]))
    for problem in problems:
        warnings.warn(f"write_report left out a series: {problem}", stacklevel=3)
    return series


def _of_monitor(monitor: Monitor) -> Series:
    # Here, since it imports torch, which a report of a log directory does without.
    from lightning_ablationcam.history import most_passes

    passes = monitor.history.passes
    if not passes or monitor.probes is None:
        raise ValueError(
            f"source is a monitor (tag={shown(monitor.tag)}) without any pass; run trainer.fit or "
            "trainer.validate with it first"
        )
    score = monitor.score if isinstance(monitor.score, str) else "score"
    probes = probes_record(monitor.probes, layer=passes[-1].layer, scale=monitor.scale, score=score)
    heat = [heat_record(seen, fingerprint=probes.fingerprint) for seen in passes]
    stamped = [Stamped(seen.step, None, record) for seen, record in zip(passes, heat, strict=True)]
    notes = []
    most = most_passes(passes[0].heatmaps.nbytes)
    if len(passes) >= most:
        notes.append(
            f"A monitor keeps at most {most} passes over maps of this size. A report of the log "
            "directory shows all of them."
        )
    return assemble("monitor", monitor.tag, [Stamped(passes[0].step, None, probes)], stamped, notes)


def _page(series: Sequence[Series], name: str) -> str:
    script = joined_modules() + "\nrender();\n"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    data = {"version": VERSION, "series": [_with_contents(one) for one in series]}
    # Text in the data must not be able to end the element it is in.
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return _PAGE.format(
        policy=_POLICY.format(script=f"sha256-{digest}"),
        title=html.escape(f"Ablation-CAM: {name}"),
        style=read_file(STYLE).decode(),
        data=text,
        script=script,
    )


def _with_contents(series: Series) -> dict[str, Any]:
    pictures = [_data_url(p, picture_type(p)) for p in series.probes.pictures]
    return page_data(
        series, pictures=pictures, maps=_data_url(series.maps, "application/octet-stream")
    )


def _data_url(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a report from a shell.

    Args:
        arguments: The log directory and the file to write; default the command line's.
    """
    parser = argparse.ArgumentParser(
        prog="python -m lightning_ablationcam.report",
        description="Write what an AblationCAMMonitor recorded as one HTML file.",
    )
    parser.add_argument("logdir", help="log directory, as for tensorboard --logdir")
    parser.add_argument("path", help="the HTML file to write")
    given = parser.parse_args(arguments)
    try:
        written = write_report(given.logdir, given.path)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    sys.stdout.write(f"{written}\n")


if __name__ == "__main__":
    main()
