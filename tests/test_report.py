from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import lightning_ablationcam
from lightning_ablationcam import ProbeSet, write_report
from lightning_ablationcam.run import history
from lightning_ablationcam.run.alarms import Alarm, Alarms
from lightning_ablationcam.run.history import History, Pass
from lightning_ablationcam.run.measuring import Measuring
from lightning_ablationcam.tensorboard_plugin.page import STYLE, joined_modules, read_file
from tests.tab_events import LIES, EventFile, further, heat, probes

HOSTILE = "</script><script>alert(1)</script><!--"


def parts(report):
    """The data and the scripts of a report, found as a browser finds them."""
    text = Path(report).read_text(encoding="utf-8")
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", text, re.DOTALL)
    (data,) = [json.loads(body) for kind, body in scripts if "ablation-cam-data" in kind]
    (module,) = [body for kind, body in scripts if "module" in kind]
    assert len(scripts) == 2
    return text, data, module


def contents(url, kind):
    start = f"data:{kind};base64,"
    assert url.startswith(start)
    return base64.b64decode(url.removeprefix(start), validate=True)


@pytest.fixture
def logs(tmp_path):
    folder = tmp_path / "logs <&>"
    with EventFile(folder / "a") as file:
        file.probes(probes())
        for step in range(30):
            file.heat(heat(step), step)
    with EventFile(folder / "b" / "c") as file:
        file.probes(probes(names=(HOSTILE, "\u2028")), tag="other")
        file.heat(heat(), 5, tag="other")
    return folder


def test_a_log_directory_becomes_one_file(logs, tmp_path):
    path = tmp_path / "report.html"
    assert write_report(logs, path) == path
    text, data, module = parts(path)
    assert data["version"] == 1
    first, second = data["series"]
    assert (first["run"], first["tag"]) == ("a", "ablation_cam")
    assert (second["run"], second["tag"]) == ("b/c", "other")
    assert [step["step"] for step in first["steps"]] == list(range(30))
    maps = contents(first["maps"], "application/octet-stream")
    assert maps == b"".join(heat(step).maps for step in range(30))
    assert contents(first["pictures"][0], "image/png") == probes().pictures[0]
    assert contents(first["pictures"][1], "image/jpeg") == probes().pictures[1]
    assert [probe["name"] for probe in second["probes"]] == [HOSTILE, "\u2028"]
    assert "alert(1)<" not in text
    assert f"<title>{html.escape('Ablation-CAM: logs <&>')}</title>" in text
    assert module == joined_modules() + "\nrender();\n"
    assert [file.name for file in tmp_path.iterdir() if "report" in file.name] == ["report.html"]


def test_the_maps_of_a_rival_stand_in_it(tmp_path):
    with EventFile(tmp_path / "logs") as file:
        file.probes(probes())
        file.heat(heat(0), 0)
        file.heat(heat(1, also={"rival": further(1)}), 1)
    _, data, _ = parts(write_report(tmp_path / "logs", tmp_path / "report.html"))
    (series,) = data["series"]
    assert list(series["also_maps"]) == ["rival"]
    maps = contents(series["also_maps"]["rival"], "application/octet-stream")
    assert maps == bytes(len(heat().maps)) + further(1).maps
    assert [list(step["also"]) for step in series["steps"]] == [[], ["rival"]]


def test_only_the_page_itself_may_run(logs, tmp_path):
    text, _, module = parts(write_report(str(logs), str(tmp_path / "report.html")))
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    digest = base64.b64encode(hashlib.sha256(module.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert not re.search(r"https?:", policy)


def test_the_page_can_stand_inside_a_file():
    script, style = joined_modules(), read_file(STYLE).decode()
    assert "</script" not in script.lower()
    assert "<!--" not in script
    assert "</style" not in style.lower()
    # Browsers turn these into line feeds before they compute a script's hash.
    assert "\r" not in script


class Monitor(SimpleNamespace):
    """The parts of an AblationCAMMonitor that a report needs."""

    def __init__(self, passes=3, **changes):
        history = History()
        for step in range(passes):
            heatmaps = np.full((2, 2, 2), step + 1, np.float32)
            zeros = np.zeros(2)
            history.append(Pass(10 * step, step, "net.3", heatmaps, zeros.astype(np.int64), zeros))
        defaults = {
            "tag": "cam",
            "scale": "probe",
            "score": "logit",
            "history": history,
            "probes": ProbeSet(torch.rand(2, 1, 4, 4)),
            "measuring": Measuring(),
        }
        super().__init__(**{**defaults, **changes})


def test_a_monitor_becomes_one_file(tmp_path):
    monitor = Monitor(score=lambda output, classes: output[:, 0])
    _, data, _ = parts(write_report(monitor, tmp_path / "report.html"))
    (series,) = data["series"]
    assert (series["run"], series["tag"], series["layer"]) == ("monitor", "cam", "net.3")
    assert series["score"] == "score"
    assert [step["step"] for step in series["steps"]] == [0, 10, 20]
    assert [step["maxima"] for step in series["steps"]] == [[1, 1], [2, 2], [3, 3]]
    assert [step["drift"] for step in series["steps"]] == [None, [0, 0], [0, 0]]
    assert series["steps"][1]["concentration"] == [0.1, 0.1]
    assert series["steps"][0]["wall_time"] is None
    assert contents(series["maps"], "application/octet-stream") == b"\xff" * 24
    assert series["notes"] == []


def test_the_measures_and_alarms_of_a_monitor_stand_in_it(tmp_path):
    measuring = Measuring(["insertion"], alarms=[Alarm("drift", below=0.5, for_passes=2)])
    monitor = Monitor(measuring=measuring)
    for seen in monitor.history.passes[1:]:
        seen.measures["deletion"] = np.array([0.25, np.nan])
    rings, alarms = {"drift": np.array([False, True])}, Alarms(measuring.alarms)
    # As of a fit that went on with another limit.
    monitor.history.passes[0] = replace(
        monitor.history.passes[0], alarms=rings, rules={"drift": "mean drift below 0.75 for 2"}
    )
    monitor.history.mark(rings, alarms.rules_of(rings))
    _, data, _ = parts(write_report(monitor, tmp_path / "report.html"))
    (series,) = data["series"]
    names = [axis["name"] for axis in series["measures"]]
    assert names[:3] == ["drift", "drift_from_first", "shift"]
    assert {"insertion", "deletion"} <= set(names)
    assert not {"mask_heat", "average_drop"} & set(names)
    assert [rule["name"] for rule in series["alarms"]] == ["drift"]
    assert series["alarms"][0]["below"] == 0.5
    assert [step["alarms"] for step in series["steps"]] == [{}, {}, {"drift": [1]}]
    assert [step["deletion"] for step in series["steps"]] == [None, [0.25, None], [0.25, None]]
    assert [step["insertion"] for step in series["steps"]] == [None] * 3
    assert series["notes"] == [
        "Rings of alarms under another rule than they have now are left out: drift."
    ]


@pytest.mark.parametrize(("bytes_", "most"), [(history.MAX_BYTES, 64), (1, 8)])
def test_a_monitor_that_kept_a_part_of_its_passes_says_so(tmp_path, monkeypatch, bytes_, most):
    monkeypatch.setattr(history, "MAX_BYTES", bytes_)
    monitor = Monitor(passes=most + 1)
    _, data, _ = parts(write_report(monitor, tmp_path / "report.html"))
    (series,) = data["series"]
    assert len(series["steps"]) == most
    assert series["notes"] == [
        f"A monitor keeps at most {most} passes over maps of this size. A report of the log "
        "directory shows all of them."
    ]


@pytest.mark.parametrize(
    ("source", "path", "error", "message"),
    [
        ("nowhere", "r.html", FileNotFoundError, r"source='nowhere'.*no such directory"),
        (__file__, "r.html", NotADirectoryError, r"source=.*is a file; give the directory"),
        (3, "r.html", TypeError, "source=3; expected a log directory or an"),
        (Monitor(passes=0), "r.html", ValueError, r"without any pass; run trainer.fit"),
        (Monitor(probes=None), "r.html", ValueError, "without any pass"),
        (Monitor(), "no/r.html", FileNotFoundError, r"path=.*no folder.*create it first"),
        (Monitor(), ".", IsADirectoryError, r"path=.*is a folder; name a file"),
    ],
)
def test_what_cannot_be_done_is_said(source, path, error, message, tmp_path):
    with pytest.raises(error, match=message):
        write_report(source, tmp_path / path)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_without_records(tmp_path):
    with pytest.raises(ValueError, match=r"source=.*holds no Ablation-CAM data"):
        write_report(tmp_path, tmp_path / "r.html")
    with EventFile(tmp_path / "logs") as file:
        file.probes(probes())
        file.strings("ablation_cam/heat", [b"{}", b""], 0, 1.0)
    with pytest.raises(ValueError, match="no heat under 'ablation_cam' that can be read"):
        write_report(tmp_path, tmp_path / "r.html")


def test_a_series_that_cannot_be_shown_is_left_out_and_said(logs, tmp_path):
    with EventFile(logs / "z") as file:
        file.probes(probes())
        file.heat(heat(fingerprint="other"), 0)
    with pytest.warns(UserWarning, match="left out a series: run 'z' has 1 probes records"):
        path = write_report(logs, tmp_path / "r.html")
    assert [series["run"] for series in parts(path)[1]["series"]] == ["a", "b/c"]


def test_what_a_tensor_says_of_its_size_costs_nothing(tmp_path):
    with EventFile(tmp_path / "lying") as file:
        file.probes(probes())
        for step, lie in enumerate(LIES):
            file.value(lie, step, 1.0)
        file.heat(heat(), len(LIES))
    code = (
        "import sys; from lightning_ablationcam import write_report; "
        "write_report(*sys.argv[1:]); print(open('/proc/self/status').read())"
    )
    path = tmp_path / "report.html"
    command = [sys.executable, "-c", code, str(tmp_path), str(path)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert int(re.search(r"VmHWM:\s+(\d+) kB", said)[1]) < 400_000
    (series,) = parts(path)[1]["series"]
    assert [step["step"] for step in series["steps"]] == [len(LIES)]
    assert series["notes"][0].startswith(f"{len(LIES)} records could not be read")


def test_an_old_report_stays_when_the_new_one_fails(logs, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(self, text, **_):
        self.write_bytes(text[:10].encode())
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        with pytest.raises(OSError, match="no space"):
            write_report(logs, path)
    assert path.read_text() == "old"
    assert [f.name for f in tmp_path.iterdir() if f.is_file()] == ["report.html"]
    write_report(logs, path)
    assert path.read_text() != "old"


def test_from_a_shell_without_torch(logs, tmp_path):
    code = (
        "import sys; from lightning_ablationcam.report import main; main(sys.argv[1:]); "
        "sys.exit('torch' in sys.modules)"
    )
    path = tmp_path / "report.html"
    root = Path(lightning_ablationcam.__file__).parents[1]

    def run(*command):
        return subprocess.run(
            [sys.executable, *command], cwd=root, capture_output=True, text=True, check=False
        )

    done = run("-c", code, logs, path)
    assert (done.returncode, done.stdout) == (0, f"{path}\n"), done.stderr
    assert path.is_file()
    failed = run("-m", "lightning_ablationcam.report", tmp_path / "nowhere", path)
    assert failed.returncode == 2
    assert "there is no such directory" in failed.stderr
    assert "Traceback" not in failed.stderr
