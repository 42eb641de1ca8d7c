"""Data for the tab's page as a real run would give it, and a small server that hands it out."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

import numpy as np
from PIL import Image
from skimage import data as photographs
from sklearn.datasets import load_digits

from lightning_ablationcam.measures import axis as axes
from lightning_ablationcam.measures.axis import BALANCE, CONCENTRATION, DRIFT, Axis
from lightning_ablationcam.records.format import (
    AlarmRecord,
    FurtherRecord,
    HeatRecord,
    ProbesRecord,
    RegionsRecord,
)
from lightning_ablationcam.records.regions import runs_of
from lightning_ablationcam.tensorboard_plugin.page import CONTENT_TYPES, read_file
from tests.tab_events import EventFile

BASE = "/data/plugin/ablation_cam/"
CLASSES = ["astronaut", "cat", "coffee", "rocket", "digit"]
TOP = 4
"""How many of the classes a step lists."""
MEASURES = (DRIFT, CONCENTRATION, BALANCE)
ALL_MEASURES = (
    axes.DRIFT,
    axes.DRIFT_FROM_FIRST,
    axes.SHIFT,
    axes.CONCENTRATION,
    axes.BORDER_HEAT,
    axes.MASK_HEAT,
    axes.POINTING_GAME,
    axes.BALANCE,
    axes.AVERAGE_DROP,
    axes.INCREASE,
    axes.AVERAGE_GAIN,
    axes.INSERTION,
    axes.DELETION,
)
FAITHFUL = [axis.name for axis in ALL_MEASURES if axis.group == axes.FAITHFULNESS]
NAMES = {axis.name for axis in (*ALL_MEASURES, axes.ERROR)}
OTHERWISE = {"step", "wall_time", "top", "also", "against", "regions", *NAMES}
"""What a record holds under other names than a step of the page's data."""

# As TensorBoard 2.21 sends it (`backend/http_util.py`).
POLICY = (
    "default-src 'self';font-src 'self' data:;frame-src 'self' https://ui.perfetto.dev;"
    "img-src 'self' data: blob:;object-src 'none';"
    "style-src 'self' https://www.gstatic.com data: 'unsafe-inline';connect-src 'self';"
    "script-src 'self' 'unsafe-eval' 'sha256-{}'"
)


@cache
def picture(index: int, size: int = 192) -> Image.Image:
    """A photograph, cut out somewhere else for every index, or a handwritten digit."""
    kind = index % len(CLASSES)
    if kind == 4:
        pixels = (load_digits().images[index] * 15.9).astype(np.uint8)
        return Image.fromarray(pixels).convert("RGB")
    photograph = [photographs.astronaut, photographs.chelsea, photographs.coffee][kind % 3]
    pixels = photographs.rocket() if kind == 3 else photograph()
    side = min(pixels.shape[:2]) * (10 - index // 5 % 4) // 10
    top = (pixels.shape[0] - side) * (index // 5 % 3) // 2
    left = (pixels.shape[1] - side) // 2
    return Image.fromarray(pixels[top : top + side, left : left + side]).resize((size, size))


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG" if max(image.size) < 64 else "JPEG", quality=90)
    return buffer.getvalue()


@dataclass
class Made:
    """One series: what the server holds of it."""

    data: dict
    maps: np.ndarray
    pictures: list[bytes]
    also: dict[str, np.ndarray] = field(default_factory=dict)
    against: dict[str, np.ndarray] = field(default_factory=dict)
    regions: np.ndarray | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.data["run"], self.data["tag"]

    def first(self, steps: int) -> Made:
        """The same run when it had only seen that many steps."""
        data = {**self.data, "steps": self.data["steps"][:steps], "total_steps": steps}
        also, against = (
            {role: maps[:steps] for role, maps in layers.items()}
            for layers in (self.also, self.against)
        )
        return Made(with_addresses(data), self.maps[:steps], self.pictures, also, against)

    def replaced(self, **changes) -> Made:
        return replace(self, data=with_addresses({**self.data, **changes}))

    def with_regions(self, regions: np.ndarray) -> Made:
        """The same with a region of each probe at each step: (steps, probes, h, w) bool."""
        listed = [
            [*region.shape, base64.b64encode(runs_of(region)).decode()]
            for region in regions.reshape(-1, *regions.shape[2:])
        ]
        probes = regions.shape[1]
        steps = [
            {**entry, "regions": list(range(i * probes, (i + 1) * probes))}
            for i, entry in enumerate(self.data["steps"])
        ]
        data = {**self.data, "regions": listed, "steps": steps}
        return replace(self, data=data, regions=regions)


def write_run(file: EventFile, made: Made, start: int = 0, stop: int | None = None) -> None:
    """Write some of the steps of a series, before the first of them its probes."""
    data = made.data
    if not start:
        names, labels = zip(
            *((probe["name"], probe["label"]) for probe in data["probes"]), strict=True
        )
        same = {key: data[key] for key in ("fingerprint", "layer", "scale", "score", "task")}
        record = ProbesRecord(
            **same,
            names=names,
            labels=labels,
            pictures=tuple(made.pictures),
            class_names=tuple(data["class_names"]),
            measures=tuple(Axis(**axis) for axis in data["measures"]),
            alarms=tuple(AlarmRecord(**alarm) for alarm in data["alarms"]),
            label_texts=tuple(probe["text"] for probe in data["probes"]),
        )
        file.probes(record, wall_time=1.0, tag=data["tag"])
    for i, entry in list(enumerate(data["steps"]))[start:stop]:
        maps = made.maps[i]
        also = {
            role: FurtherRecord(
                maps=made.also[role][i].tobytes(),
                shape=made.also[role][i].shape,
                error=further.get("error"),
                **against_of(made, i, role, further),
                **{k: v for k, v in further.items() if k not in OTHERWISE},
            )
            for role, further in entry["also"].items()
        }
        top = entry["top"] or {"classes": None, "probabilities": None}
        record = HeatRecord(
            fingerprint=data["fingerprint"],
            layer=data["layer"],
            shape=maps.shape,
            maps=maps.tobytes(),
            measures={name: entry[name] for name in NAMES if entry.get(name) is not None},
            top_classes=top["classes"],
            top_probabilities=top["probabilities"],
            also=also,
            regions=regions_of(made, i),
            **against_of(made, i, "", entry),
            **{k: v for k, v in entry.items() if k not in OTHERWISE},
        )
        file.heat(record, entry["step"], entry["wall_time"], tag=data["tag"])


def against_of(made: Made, i: int, role: str, explained: dict) -> dict:
    if explained["against"] is None:
        return {}
    return {
        "against": made.against[role][i].tobytes(),
        "against_maxima": explained["against"],
    }


def regions_of(made: Made, i: int) -> RegionsRecord | None:
    if made.regions is None:
        return None
    runs = tuple(runs_of(region) for region in made.regions[i])
    return RegionsRecord(made.regions.shape[2:], runs)


def with_addresses(data: dict) -> dict:
    series = {"run": data["run"], "tag": data["tag"]}
    steps = [step["step"] for step in data["steps"]]
    key = hashlib.sha256(repr((data["fingerprint"], steps)).encode()).hexdigest()[:12]
    pictures = [
        "picture?" + urlencode({**series, "index": i, "fingerprint": data["fingerprint"]})
        for i in range(len(data["probes"]))
    ]
    maps = "maps?" + urlencode({**series, "key": key})
    roles = dict.fromkeys(role for step in data["steps"] for role in step["also"])
    also = {role: f"{maps}&{urlencode({'role': role})}" for role in roles}
    signed = {
        role
        for step in data["steps"]
        for role, one in {"": step, **step["also"]}.items()
        if one["against"] is not None
    }
    against = {
        role: f"{maps}&{urlencode({'role': role, 'side': 'against'})}"
        for role in ("", *roles)
        if role in signed
    }
    addresses = {"maps": maps, "also_maps": also, "against_maps": against, "maps_key": key}
    return {**data, "pictures": pictures, **addresses}


def evolution(
    run="version_0",
    tag="ablation_cam",
    probes=16,
    steps=40,
    cells=7,
    seed=0,
    roles=(),
    signed=False,
) -> Made:
    """A network that learns: its heat wanders from anywhere to the object, and sharpens.

    A role's map is the explained class's, mirrored; the first step has none, as if asked for later.
    What speaks against a class lies elsewhere, stronger than its map at first and weaker later.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:cells, 0:cells] / (cells - 1)
    start, goal = rng.uniform(0.05, 0.95, (probes, 2)), rng.uniform(0.3, 0.7, (probes, 2))
    labels = np.arange(probes) % len(CLASSES)
    learnt_at = rng.uniform(0.1, 0.9, probes)
    learnt_at[probes // 2] = 2.0  # one is never learnt
    entries, maps, before = [], np.zeros((steps, probes, cells, cells), np.uint8), None
    for i in range(steps):
        t = i / max(1, steps - 1)
        share = 1 / (1 + np.exp(-12 * (t - learnt_at)))
        center = start + (goal - start) * share[:, None] + rng.normal(0, 0.012, (probes, 2))
        width = 0.34 - 0.2 * share[:, None, None]
        offsets = (y - center[:, 0, None, None]) ** 2 + (x - center[:, 1, None, None]) ** 2
        heat = np.exp(-offsets / (2 * width**2)) + rng.uniform(0, 0.08, (probes, cells, cells))
        heat = np.maximum(0, heat - 0.08) * (0.25 + 2 * share[:, None, None])
        maxima = heat.max(axis=(1, 2))
        maps[i] = np.rint(heat / maxima[:, None, None] * 255)
        flat = heat.reshape(probes, -1)
        drift = [None] * probes
        if before is not None:
            norms = np.linalg.norm(flat, axis=1) * np.linalg.norm(before, axis=1)
            drift = np.maximum(0, 1 - (flat * before).sum(1) / norms).tolist()
        before = flat
        scores = -0.5 + 9 * share + rng.normal(0, 0.25, probes)
        chosen = np.where(share > 0.4, labels, (labels + 1 + i // 9) % len(CLASSES))
        probabilities = 1 / (1 + np.exp(2 - scores))
        spread = likely(labels, chosen, probabilities, i // 4)
        order = np.argsort(-spread, axis=1)
        rivals = np.where(order[:, 0] == labels, order[:, 1], order[:, 0])
        further = {
            "maxima": (maxima / 2).tolist(),
            "classes": rivals.tolist(),
            "scores": (scores - 1.5).tolist(),
            "probabilities": spread[np.arange(probes), rivals].tolist(),
            "against": (maxima * (0.75 - 0.5 * t)).tolist() if signed else None,
            "regions": None,
        }
        hottest = np.sort(flat, axis=1)[:, -max(1, cells * cells // 10) :].sum(1)
        entries.append(
            {
                "step": 24 * (i + 1),
                "epoch": i,
                "wall_time": 1.7e9 + 60 * i,
                "maxima": maxima.tolist(),
                "classes": labels.tolist(),
                "scores": scores.tolist(),
                "predicted": chosen.tolist(),
                "probabilities": probabilities.tolist(),
                "balance": (0.4 + 0.5 * share).tolist(),
                "top": {
                    "classes": order[:, :TOP].tolist(),
                    "probabilities": (-np.sort(-spread, axis=1)[:, :TOP]).tolist(),
                },
                "also": {role: further for role in roles if i},
                "against": (2 * maxima * (0.75 - 0.5 * t)).tolist() if signed else None,
                "regions": None,
                "alarms": {},
                "drift": drift,
                "concentration": (hottest / flat.sum(1)).tolist(),
            }
        )
    data = {
        "version": 1,
        "run": run,
        "tag": tag,
        "fingerprint": f"set-of-{probes}",
        "layer": "model.layer4",
        "scale": "probe",
        "score": "logit",
        "task": None,
        "probes": [
            {"name": f"{CLASSES[label]} {i}", "label": int(label), "text": None}
            for i, label in enumerate(labels)
        ],
        "class_names": CLASSES,
        "measures": [vars(axis) for axis in MEASURES],
        "alarms": [],
        "shape": [cells, cells],
        "also_shapes": {role: [cells, cells] for role in roles},
        "regions": [],
        "steps": entries,
        "total_steps": steps,
        "notes": [],
    }
    also = {role: maps[..., ::-1].copy() for role in roles}
    for mirrored in also.values():
        mirrored[0] = 0
    against = {role: elsewhere(each) for role, each in {"": maps, **also}.items()}
    pictures = [png(picture(i)) for i in range(probes)]
    return Made(with_addresses(data), maps, pictures, also, against if signed else {})


def an_alarm(measure, name=None, *, above=None, below=None, for_passes=1, of="mean"):
    """A rule as the page gets it."""
    rule = {"name": name or measure, "measure": measure, "above": above, "below": below}
    return {**rule, "for_passes": for_passes, "of": of}


def measured(made, every=5, alarms=(), masks=True, seed=1):
    """The same run with all measures, those that cost much in every so many passes, and alarms."""
    rng = np.random.default_rng(seed)
    count, last = len(made.pictures), len(made.data["steps"]) - 1
    far = rng.uniform(0, 1, count)
    steps = []
    for i, entry in enumerate(made.data["steps"]):
        t = i / max(1, last)
        # Heat moves to the border in the second third, and comes back.
        border = 0.2 + 0.45 * np.exp(-(((t - 0.55) / 0.13) ** 2)) * (0.4 + far)
        balance = np.array(entry["balance"])
        noise = rng.normal(0, 0.015, (9, count))
        found = {
            "drift_from_first": 0.7 * (1 - np.exp(-4 * t)) + noise[0],
            "shift": np.abs(40 * np.exp(-3 * t) * far + 60 * noise[1]),
            "border_heat": border + noise[2],
            "mask_heat": balance - 0.2 + noise[3],
            "pointing_game": np.float64(balance + 3 * noise[4] > 0.6),
            "average_drop": 0.9 - balance + noise[5],
            "increase": np.float64(balance + 6 * noise[6] > 0.8),
            "average_gain": 0.3 * balance + noise[7],
            "insertion": 0.8 * balance + noise[8],
            "deletion": 0.45 - 0.4 * balance + noise[0],
        }
        if not i:
            found |= {"shift": None}
        for name, values in found.items():
            unknown = values is None or (name in FAITHFUL and i % every)
            unknown = unknown or (not masks and name in ("mask_heat", "pointing_game"))
            most = None if name == "shift" else 1
            found[name] = None if unknown else values.clip(0, most).tolist()
        if not i:
            entry = {**entry, "drift": None}
        steps.append({**entry, **found})
    listed = [vars(axis) for axis in ALL_MEASURES]
    data = {**made.data, "measures": listed, "alarms": list(alarms), "steps": steps}
    ring(data)
    return replace(made, data=data)


def tolerant(made, since=2):
    """The same run with a tolerance that became finer, after passes that state no error."""
    steps, last = [], len(made.data["steps"]) - 1
    for i, entry in enumerate(made.data["steps"]):
        most = 0.0 if i == last else 0.1 / 2 ** (3 * i // last)
        error = [most * share for share in np.linspace(1, 0.5, len(made.pictures))]
        if i < since:
            error = None
        also = {
            role: {**each, "error": error and [value / 2 for value in error]}
            for role, each in entry["also"].items()
        }
        steps.append({**entry, "error": error, "also": also})
    measures = [*made.data["measures"], vars(axes.ERROR)]
    return replace(made, data={**made.data, "measures": measures, "steps": steps})


def ring(data):
    """Ring the alarms of a series, pass by pass, as they are defined."""
    for rule in data["alarms"]:
        rows, standing = np.zeros(len(data["probes"]), int), {}
        for entry in data["steps"]:
            entry["alarms"] = dict(entry["alarms"])
            values = entry[rule["measure"]]
            if values is None:
                entry["alarms"].update(standing)
                continue
            values = np.array(values, float)
            beyond = np.zeros(len(values), bool)
            if rule["above"] is not None:
                beyond |= values > rule["above"]
            if rule["below"] is not None:
                beyond |= values < rule["below"]
            if rule["of"] == "mean":
                mean = np.nanmean(values)
                is_beyond = rule["above"] is not None and mean > rule["above"]
                is_beyond |= rule["below"] is not None and mean < rule["below"]
                rows = (rows + 1) * is_beyond
                rings = rows[0] >= rule["for_passes"]
            else:
                rows = (rows + 1) * beyond
                rings = (rows >= rule["for_passes"]).any()
                # Those that have been so all along.
                beyond = rows >= rule["for_passes"]
            standing = {rule["name"]: np.flatnonzero(beyond).tolist()} if rings else {}
            entry["alarms"].update(standing)


def elsewhere(maps):
    """Maps that have no heat where the others have much."""
    half = maps.shape[-1] // 2
    return np.where(maps < 64, np.roll(maps, (half, half), (-2, -1)), 0).astype(np.uint8)


def likely(labels, chosen, probabilities, turn):
    """Softmax-like probabilities of all classes: that of the label given, the chosen highest.

    The others take turns at being the least likely.
    """
    count, classes = len(labels), np.arange(len(CLASSES))
    spread = np.repeat(1.0 + 0.1 * np.roll(classes, turn)[None], count, 0)
    rows = np.arange(count)
    spread[rows, labels] = 0
    spread[rows, chosen] += np.where(chosen == labels, 0, 6)
    spread *= ((1 - probabilities) / spread.sum(1))[:, None]
    spread[rows, labels] = probabilities
    return spread


@dataclass
class Tab:
    """Answers the page's requests as the plugin does, from series that a test can exchange."""

    series: dict[tuple[str, str], Made] = field(default_factory=dict)
    message: str | None = None
    broken: dict[str, int] = field(default_factory=dict)
    reason: bytes = b"forced to fail"
    asked: list[str] = field(default_factory=list)
    sent: int = 0

    def put(self, *made: Made) -> Tab:
        self.series.update({one.key: one for one in made})
        return self

    def answer(self, address: str) -> tuple[int, str, bytes]:
        """Status, content type and body."""
        status, kind, body = self._answer(address)
        self.asked.append(address)
        self.sent += len(body)
        return status, kind, body

    def _answer(self, address: str) -> tuple[int, str, bytes]:
        parts = urlsplit(address)
        query = {name: values[0] for name, values in parse_qs(parts.query, True).items()}
        route = parts.path.removeprefix(BASE)
        if route in self.broken:
            return self.broken[route], "text/plain", self.reason
        if parts.path == "/favicon.ico":
            return 204, "image/png", b""
        if parts.path == "/data/plugin_entry.html":
            return 200, "text/html", ENTRY.encode()
        if route in CONTENT_TYPES:
            return 200, f"{CONTENT_TYPES[route]}; charset=utf-8", read_file(route)
        if route == "series":
            listed = [{"run": run, "tag": tag} for run, tag in self.series]
            answer = {"version": 1, "series": listed, "message": self.message}
            return 200, "application/json", json.dumps(answer).encode()
        made = self.series.get((query.get("run", ""), query.get("tag", "")))
        if made is None:
            return 404, "application/json", b'{"error": "there is no such series"}'
        if route == "data":
            return 200, "application/json", json.dumps(made.data).encode()
        if route == "maps":
            if query["key"] != made.data["maps_key"]:
                return 409, "application/json", b'{"error": "The run has changed since."}'
            layers = made.against if "side" in query else {"": made.maps, **made.also}
            maps = layers[query.get("role", "")]
            maps = maps[int(query.get("from", 0)) : int(query.get("to", len(maps)))]
            return 200, "application/octet-stream", maps.tobytes()
        if route == "picture":
            body = made.pictures[int(query["index"])]
            return 200, "image/png" if body[:4] == b"\x89PNG" else "image/jpeg", body
        return 404, "text/plain", b"no such page"


SCRIPT = 'import("./index.js").then((m) => void m.render());'
ENTRY = (
    '\n<!DOCTYPE html>\n<head><base href="plugin/ablation_cam/" /></head>\n'
    f'<body><script type="module">{SCRIPT}</script></body>\n'
)
DIGEST = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()


@contextmanager
def served(tab: Tab):
    """Serve a tab on loopback; yields the address of the page."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            status, kind, body = tab.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            cached = "private, max-age=3600" if "/picture?" in self.path else "no-cache"
            self.send_header("Cache-Control", cached)
            if kind == "text/html":
                self.send_header("Content-Security-Policy", POLICY.format(DIGEST))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/data/plugin_entry.html?name=ablation_cam"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
