"""Time to the first picture and bytes transferred, for 64 probes x 300 steps in the tab.

    python -m tests.benchmarks.bench_tab
    python -m tests.benchmarks.bench_tab --probes 500 --steps 1000 --runs 20 --visits 2

Writes an event file, starts TensorBoard over it with each of its loaders, and opens the page of the
tab, each time with an empty cache. Then: what is transferred when nothing is new, what when the run
has grown by a step, and how long a frame takes while the slider is moved, once nothing comes any
more. The server reads a run when it is first asked for it, so that the first visit takes longer
than the others. Of several runs all but the first are the same file once more; how long it takes to
go to another one is measured as well. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page

from tests.board import Board
from tests.browser import chromium
from tests.tab_events import TAG, EventFile
from tests.tab_page import Made, evolution, write_run

FRAMES = """async (frames) => {
  const slider = document.querySelector("input[data-step=a]");
  const times = [];
  for (let i = 0; i < frames; i++) {
    const start = performance.now();
    slider.value = Math.round((i * slider.max) / frames);
    slider.dispatchEvent(new Event("input"));
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    times.push(performance.now() - start);
  }
  return times;
}"""


class Wire:
    """Bytes that a page receives, by route, headers included."""

    def __init__(self, page: Page) -> None:
        self.sizes: dict[str, int] = {}
        routes: dict[str, str] = {}
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.on(
            "Network.requestWillBeSent",
            lambda event: routes.update({event["requestId"]: event["request"]["url"]}),
        )

        def finished(event: dict) -> None:
            route = routes[event["requestId"]].split("?")[0].rsplit("/", 1)[-1]
            self.sizes[route] = self.sizes.get(route, 0) + int(event["encodedDataLength"])

        session.on("Network.loadingFinished", finished)

    @property
    def total(self) -> int:
        return sum(self.sizes.values())


@dataclass
class Visit:
    ready: float
    served: float
    wire: dict[str, int]
    frames: list[float]
    large: list[float]
    other: float = 0.0
    unchanged: int = 0
    grown: int = 0


def visited(browser: Browser, url: str) -> tuple[Visit, Page, Wire]:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    wire = Wire(page)
    page.goto(url)
    page.wait_for_selector("html[data-ready='1']")
    ready = page.evaluate("performance.now()") / 1000
    served = page.evaluate(
        "Math.min(...performance.getEntriesByType('resource')"
        ".filter((entry) => entry.name.includes('/data?')).map((entry) => entry.responseEnd))"
    )
    first = dict(wire.sizes)
    # The server shares the machine with the page, and loads what it was not asked for.
    wait_until_quiet(page, wire)
    frames = page.evaluate(FRAMES, 60)
    page.evaluate("location.hash = '#probe=0'")
    page.wait_for_selector("dialog[open] canvas")
    page.wait_for_timeout(500)
    large = page.evaluate(FRAMES.replace("input[", "dialog input["), 60)
    page.evaluate("location.hash = ''")
    page.wait_for_selector("dialog", state="hidden")
    page.wait_for_load_state("networkidle")
    return Visit(ready, ready - served / 1000, first, frames, large), page, wire


def wait_until_quiet(page: Page, wire: Wire) -> None:
    """Wait until nothing comes any more: maps that are not on show come in the background."""
    before = -1
    while before != wire.total:
        before = wire.total
        page.wait_for_timeout(1500)


def asked_again(page: Page, wire: Wire) -> int:
    """Bytes of one look for news: what a poll, or TensorBoard's reload button, brings about."""
    wait_until_quiet(page, wire)
    before = wire.total
    with page.expect_response(lambda response: "/data?" in response.url):
        page.evaluate("location.hash = location.hash === '#speed=2' ? '#speed=8' : '#speed=2'")
    wait_until_quiet(page, wire)
    return wire.total - before


def other_run(page: Page) -> float:
    """Seconds until another run is on show."""
    start = "delete document.documentElement.dataset.ready; window.start = performance.now();"
    page.evaluate(f"{start} location.hash = '#run=run%2001'")
    page.wait_for_selector("html[data-ready='1']", timeout=120_000)
    return page.evaluate("performance.now() - window.start") / 1000


def measured(browser: Browser, board: Board, live: EventFile, made: Made, visits: int) -> list:
    def served(steps: int) -> bool:
        # As the page asks: all of it at once is far more.
        status, _, content = board.get("data", run="run", tag=TAG, known="")
        return status == 200 and json.loads(content)["steps"][-1]["step"] == last(steps)

    def last(steps: int) -> int:
        return made.data["steps"][steps - 1]["step"]

    steps = len(made.data["steps"])
    board.wait_for(lambda: served(steps - 1))
    found = []
    for _ in range(visits):
        visit, page, wire = visited(browser, f"{board.url}data/plugin_entry.html?name=ablation_cam")
        found.append(visit)
        if len(found) == visits:
            if len(board.json("series")["series"]) > 1:
                visit.other = other_run(page)
                page.evaluate("location.hash = ''")
                page.wait_for_load_state("networkidle")
            visit.unchanged = asked_again(page, wire)
            write_run(live, made, steps - 1)
            board.wait_for(lambda: served(steps))
            visit.grown = asked_again(page, wire)
        page.close()
    return found


def report(visits: list[Visit]) -> None:
    times = sorted(visit.ready for visit in visits)
    print(f"  time to first picture  {times[0]:.2f} ... {times[-1]:.2f} s ({len(times)} visits)")
    after = sorted(visit.served for visit in visits)
    print(f"    after the data came  {after[0]:.2f} ... {after[-1]:.2f} s")
    last = visits[-1]
    if last.other:
        print(f"  time to another run    {last.other:.2f} s")
    print(f"  bytes transferred      {sum(last.wire.values()) / 1e6:.2f} MB")
    for route, size in sorted(last.wire.items(), key=lambda item: -item[1]):
        print(f"    {route:20} {size / 1e3:10.1f} kB")
    print(f"  asked again            {last.unchanged / 1e3:.1f} kB when nothing is new")
    print(f"                         {last.grown / 1e3:.1f} kB when there is one more step")
    for name in ("frames", "large"):
        frames = [time for visit in visits for time in getattr(visit, name)]
        worst = sorted(frames)[int(0.95 * len(frames))]
        where = "" if name == "frames" else ", large"
        text = f"{statistics.median(frames):.0f} ms, 95 %: {worst:.0f} ms"
        print(f"  a frame while seeking{where}  {text}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--probes", type=int, default=64)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--cells", type=int, default=7, help="side of a heatmap")
    parser.add_argument("--visits", type=int, default=3)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--loaders", nargs="+", default=["fast", "slow"])
    options = parser.parse_args()
    print("{probes} probes x {steps} steps, maps {cells} x {cells}".format(**vars(options)))
    # One step is kept back, for a run that grows.
    made = evolution(probes=options.probes, steps=options.steps + 1, cells=options.cells)
    with chromium() as browser:
        for loader in options.loaders:
            with tempfile.TemporaryDirectory() as folder:
                logs = Path(folder) / "logs"
                with EventFile(logs / "run") as live:
                    write_run(live, made, stop=options.steps)
                    for number in range(1, options.runs):
                        copy = logs / f"run {number:02}" / live.path.name
                        copy.parent.mkdir()
                        shutil.copyfile(live.path, copy)
                    flag = f"--load_fast={str(loader == 'fast').lower()}"
                    with Board(logs, Path(folder) / "said.txt", flag) as board:
                        visits = measured(browser, board, live, made, options.visits)
            print(f"{loader} loader")
            report(visits)


if __name__ == "__main__":
    main()
