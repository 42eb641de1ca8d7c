"""Time to the first picture and bytes transferred, for 64 probes x 300 steps in the tab.

    python -m tests.benchmarks.bench_tab
    python -m tests.benchmarks.bench_tab --url http://localhost:6006/

Without --url the data comes from a small server in this process, so that the page alone is
measured; with it, from a TensorBoard that is running already. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from contextlib import nullcontext

from playwright.sync_api import Browser, sync_playwright

from tests.tab_page import Tab, evolution, served

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
ENTRY = "data/plugin_entry.html?name=ablation_cam"

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


def opened(browser: Browser, url: str) -> tuple[float, dict[str, int], list[float]]:
    """One visit with an empty cache: seconds, bytes on the wire by kind, ms of each frame."""
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        page = context.new_page()
        session = context.new_cdp_session(page)
        session.send("Network.enable")
        routes, wire = {}, {}
        session.on(
            "Network.requestWillBeSent",
            lambda event: routes.update({event["requestId"]: event["request"]["url"]}),
        )

        def finished(event):
            kind = routes[event["requestId"]].split("?")[0].rsplit("/", 1)[-1]
            wire[kind] = wire.get(kind, 0) + int(event["encodedDataLength"])

        session.on("Network.loadingFinished", finished)
        page.goto(url)
        page.wait_for_selector("html[data-ready='1']")
        ready = page.evaluate("performance.now()") / 1000
        return ready, wire, page.evaluate(FRAMES, 60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--url", help="a running TensorBoard, such as http://localhost:6006/")
    parser.add_argument("--probes", type=int, default=64)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--cells", type=int, default=7, help="side of a heatmap")
    parser.add_argument("--visits", type=int, default=3)
    options = parser.parse_args()
    if options.url:
        server = nullcontext(options.url.rstrip("/") + "/" + ENTRY)
    else:
        made = evolution(probes=options.probes, steps=options.steps, cells=options.cells)
        server = served(Tab().put(made))
        print("{probes} probes x {steps} steps, maps {cells} x {cells}".format(**vars(options)))
    with server as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        visits = [opened(browser, url) for _ in range(options.visits)]
        browser.close()
    times = sorted(ready for ready, _, _ in visits)
    print(f"time to first picture  {times[0]:.2f} ... {times[-1]:.2f} s ({len(times)} visits)")
    wire = visits[-1][1]
    for kind, size in sorted(wire.items(), key=lambda item: -item[1]):
        print(f"  {kind:20} {size / 1e3:10.1f} kB")
    print(f"bytes transferred      {sum(wire.values()) / 1e6:.2f} MB")
    frames = [time for _, _, times in visits for time in times]
    worst = sorted(frames)[int(0.95 * len(frames))]
    print(f"a frame while seeking  {statistics.median(frames):.0f} ms, 95 %: {worst:.0f} ms")


if __name__ == "__main__":
    main()
