"""Time to the first picture and bytes transferred, for 64 probes x 300 steps in the tab.

    python -m tests.benchmarks.bench_tab

Writes an event file, starts TensorBoard over it with each of its loaders, and opens the page of the
tab, each time with an empty cache. Then: what is transferred when nothing is new, what when the run
has grown by a step, and how long a frame takes while the slider is moved. Nothing is asserted.
"""

from __future__ import annotations

import argparse
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
    wire: dict[str, int]
    frames: list[float]
    unchanged: int = 0
    grown: int = 0


def visited(browser: Browser, url: str) -> tuple[Visit, Page, Wire]:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    wire = Wire(page)
    page.goto(url)
    page.wait_for_selector("html[data-ready='1']")
    ready = page.evaluate("performance.now()") / 1000
    first = dict(wire.sizes)
    return Visit(ready, first, page.evaluate(FRAMES, 60)), page, wire


def asked_again(page: Page, wire: Wire) -> int:
    """Bytes of one look for news: what a poll, or TensorBoard's reload button, brings about."""
    before = wire.total
    with page.expect_response(lambda response: "/data?" in response.url):
        page.evaluate("location.hash = location.hash === '#speed=2' ? '#speed=8' : '#speed=2'")
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(500)
    return wire.total - before


def measured(browser: Browser, board: Board, live: EventFile, made: Made, visits: int) -> list:
    def served(steps: int) -> bool:
        status, _, _ = board.get("data", run="run", tag=TAG)
        return status == 200 and len(board.json("data", run="run", tag=TAG)["steps"]) == steps

    steps = len(made.data["steps"])
    board.wait_for(lambda: served(steps - 1))
    found = []
    for _ in range(visits):
        visit, page, wire = visited(browser, f"{board.url}data/plugin_entry.html?name=ablation_cam")
        found.append(visit)
        if len(found) == visits:
            visit.unchanged = asked_again(page, wire)
            write_run(live, made, steps - 1)
            board.wait_for(lambda: served(steps))
            visit.grown = asked_again(page, wire)
        page.close()
    return found


def report(visits: list[Visit]) -> None:
    times = sorted(visit.ready for visit in visits)
    print(f"  time to first picture  {times[0]:.2f} ... {times[-1]:.2f} s ({len(times)} visits)")
    last = visits[-1]
    print(f"  bytes transferred      {sum(last.wire.values()) / 1e6:.2f} MB")
    for route, size in sorted(last.wire.items(), key=lambda item: -item[1]):
        print(f"    {route:20} {size / 1e3:10.1f} kB")
    print(f"  asked again            {last.unchanged / 1e3:.1f} kB when nothing is new")
    print(f"                         {last.grown / 1e3:.1f} kB when there is one more step")
    frames = [time for visit in visits for time in visit.frames]
    worst = sorted(frames)[int(0.95 * len(frames))]
    print(f"  a frame while seeking  {statistics.median(frames):.0f} ms, 95 %: {worst:.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--probes", type=int, default=64)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--cells", type=int, default=7, help="side of a heatmap")
    parser.add_argument("--visits", type=int, default=3)
    options = parser.parse_args()
    print("{probes} probes x {steps} steps, maps {cells} x {cells}".format(**vars(options)))
    # One step is kept back, for a run that grows.
    made = evolution(probes=options.probes, steps=options.steps + 1, cells=options.cells)
    with chromium() as browser:
        for loader in ("fast", "slow"):
            with tempfile.TemporaryDirectory() as folder:
                logs = Path(folder) / "logs"
                with EventFile(logs / "run") as live:
                    write_run(live, made, stop=options.steps)
                    flag = f"--load_fast={str(loader == 'fast').lower()}"
                    with Board(logs, Path(folder) / "said.txt", flag) as board:
                        visits = measured(browser, board, live, made, options.visits)
            print(f"{loader} loader")
            report(visits)


if __name__ == "__main__":
    main()
