/**
 * The Ablation-CAM tab: plays how the heatmaps of a fixed set of probes evolve during training.
 *
 * This is where it starts. There is no build step: TensorBoard serves these modules as they
 * are, data coming over HTTP from beside them. A report holds the same modules joined into one, and
 * its data in the page itself.
 */

import { Report, Server } from "./data.js";
import { el } from "./elements.js";
import { Address, borrowFonts, findHost, followTheme } from "./host.js";
import { takeFocus } from "./keys_at_once.js";
import { PAGE_TITLE, Page } from "./page.js";
import { Session } from "./session.js";

/** The element that holds a report's data. */
const EMBEDDED = "ablation-cam-data";

/** Load the style sheet that stands beside this module. */
async function addStyle() {
  const style = el("link", {
    rel: "stylesheet",
    href: new URL("style.css", import.meta.url).href,
  });
  const styled = new Promise((done) =>
    ["load", "error"].forEach((event) => style.addEventListener(event, done)),
  );
  document.head.append(el("meta", { name: "viewport", content: "width=device-width" }), style);
  await styled;
}

/** Show the page in the empty document that TensorBoard, or a report, has opened. */
export async function render() {
  document.documentElement.lang = "en";
  document.title = PAGE_TITLE;
  const host = findHost();
  followTheme(host);
  const embedded = document.getElementById(EMBEDDED);
  if (!embedded) {
    await addStyle();
    if (host) borrowFonts(host);
  }
  const source = embedded ? new Report(embedded.textContent ?? "") : new Server();
  const session = new Session(source, new Address(host));
  new Page(session);
  session.follow(host);
  if (host) takeFocus(host);
  await session.refresh();
}
