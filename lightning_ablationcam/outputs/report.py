"""Write the tab's page as one file that opens from disk, to share or to use without TensorBoard.

From a shell: ``python -m lightning_ablationcam.outputs.report LOGDIR report.html``.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext

from lightning_ablationcam.arguments import check_path, shown
from lightning_ablationcam.files import replaced
from lightning_ablationcam.outputs.pass_records import (
    alarm_records,
    heat_record,
    named_score,
    probes_record,
)
from lightning_ablationcam.outputs.watched import Watched, is_watched
from lightning_ablationcam.records.format import PLUGIN_NAME, picture_type
from lightning_ablationcam.records.series import (
    VERSION,
    NothingToShowError,
    Series,
    Stamped,
    assemble,
    page_data,
)
from lightning_ablationcam.tensorboard_plugin.page import STYLE, joined_modules, read_file
from lightning_ablationcam.tensorboard_plugin.reading import Source, list_series, read_series

# Load nothing from outside, and run only the page's own script, whatever names and notes contain.
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


def write_report(source: str | Path | Watched, path: str | Path) -> Path:
    """Write the page of the tab, with everything in it, as one HTML file.

    The file needs no server, no network and no TensorBoard. It is about a third larger than the
    maps and pictures it holds.

    Args:
        source: A log directory, whose runs are all shown, or an
            :class:`~lightning_ablationcam.AblationCAMMonitor`, whose history is shown.
        path: The file to write; an existing file is replaced once the new one is complete.

    Returns:
        ``path``.

    Raises:
        TypeError: If ``source`` is neither, or ``path`` is not a path.
        FileNotFoundError: If there is no such log directory, or the folder of ``path`` is missing.
        NotADirectoryError: If ``source`` is a file.
        IsADirectoryError: If ``path`` is a folder.
        ValueError: If nothing was recorded, or no file can have this ``path``.

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
    elif is_watched(source):
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
    # Load all records of this plugin, and only one for each tag of the other plugins.
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


def _of_monitor(monitor: Watched) -> Series:
    # Imported here, since it imports torch, which a report of a log directory does not need.
    from lightning_ablationcam.measures.registry import MEASURES
    from lightning_ablationcam.run.history import most_passes

    passes = monitor.history.passes
    if not passes or monitor.probes is None:
        raise ValueError(
            f"source is a monitor (tag={shown(monitor.tag)}) without any pass; run trainer.fit or "
            "trainer.validate with it first"
        )
    score = monitor.score if isinstance(monitor.score, str) else "score"
    newest = passes[-1]
    # What only earlier passes have, as before the run was resumed, is shown as well.
    taken = {measure.name for measure in monitor.measuring.taken(monitor.probes)}
    taken = taken.union(*(seen.measures for seen in passes))
    probes = probes_record(
        monitor.probes,
        layer=newest.layer,
        scale=monitor.scale,
        score=named_score(score, newest),
        map_shape=newest.map_shape,
        task=newest.task,
        measures=[measure.axis for measure in MEASURES if measure.name in taken],
        alarms=alarm_records(monitor.measuring, monitor.probes),
    )
    heat = [heat_record(seen, fingerprint=probes.fingerprint) for seen in passes]
    stamped = [Stamped(seen.step, None, record) for seen, record in zip(passes, heat, strict=True)]
    notes = []
    most = most_passes(passes[0].nbytes)
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
    # Text in the data must not be able to close its script element.
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

    def maps_of(role: str, *, against: bool = False) -> str:
        maps = series.maps_from(0, role, against=against)
        return _data_url(maps, "application/octet-stream")

    return page_data(
        series,
        pictures=pictures,
        maps=maps_of(""),
        also_maps={role: maps_of(role) for role in series.roles},
        against_maps={role: maps_of(role, against=True) for role in series.signed_roles},
    )


def _data_url(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
