// What the pages do beyond being pages: bring the details of a row in place, add the next page below, follow what is
// written, and answer to keys. Everything works without it, a click further away. The server escapes all that it sends.
"use strict";

const POLL_MS = 500;
const JOB_POLL_MS = 300;
const SEGMENTS_MAX = 10; // pages in one list; behind them, "later" is a link again, so that no list grows for ever

const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

async function load(address) {
  const answer = await fetch(address, { headers: { Accept: "text/html" } });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (!answer.ok) throw Object.assign(new Error($("main p", page)?.textContent ?? ""), { status: answer.status });
  return page;
}

// --- Rows.

async function open(details) {
  const body = $(".body", details);
  if (!details.open || !body || details.dataset.state) return;
  details.dataset.state = "loading";
  try {
    const page = await load(details.dataset.src);
    body.replaceChildren(...page.body.childNodes);
    details.dataset.state = "loaded";
  } catch {
    delete details.dataset.state; // the link to its own page is still in the body
  }
}

function depthOf(row) {
  return Number(row.dataset.depth ?? 0);
}

// Hide what lies below folded rows; a row that came later is hidden too.
function applyFolds() {
  let hiddenBelow = Infinity;
  for (const row of $$("#rows > .row")) {
    const depth = depthOf(row);
    if (depth <= hiddenBelow) hiddenBelow = Infinity;
    row.hidden = depth > hiddenBelow;
    const button = $(":scope > .fold", row);
    if (button) {
      button.hidden = false;
      if (!row.hidden && button.getAttribute("aria-expanded") === "false") hiddenBelow = depth;
    }
  }
}

function fold(button, folded) {
  button.setAttribute("aria-expanded", String(!folded));
  button.setAttribute("aria-label", folded ? "Unfold what is below" : "Fold what is below");
}

// What a row says, leaving aside what the reader has opened or folded.
function saying(row) {
  const summary = $("summary", row);
  return (summary ?? row).innerHTML + (summary && $(":scope > .fold", row) ? "+" : "");
}

// Make the children of `list` those of `wanted`, keeping each that still says the same, open details and all.
function merge(list, wanted) {
  const old = new Map($$(":scope > [data-key]", list).map((row) => [row.dataset.key, row]));
  const rows = wanted.map((row) => {
    const kept = old.get(row.dataset.key);
    if (kept && saying(kept) === saying(row)) return kept;
    if (kept && $("details[open]", kept)) {
      $("summary", kept).innerHTML = $("summary", row).innerHTML;
      return kept;
    }
    const made = document.importNode(row, true);
    made.classList.add("fresh");
    return made;
  });
  const present = [...list.children];
  if (rows.length !== present.length || rows.some((row, at) => row !== present[at])) {
    const focused = document.activeElement?.closest("[data-key]")?.dataset.key;
    list.replaceChildren(...rows);
    const again = focused !== undefined && rows.find((row) => row.dataset.key === focused);
    if (again && !again.contains(document.activeElement)) $("summary, a", again)?.focus({ preventScroll: true });
  }
}

// --- The next page below this one.

const segments = [location.href];

async function loadMore(anchor) {
  if (segments.length >= SEGMENTS_MAX) {
    location.href = anchor.href;
    return;
  }
  if (anchor.dataset.state) return;
  anchor.dataset.state = "loading";
  try {
    const page = await load(anchor.href);
    const list = $("#rows");
    const rows = $$("#rows > .row", page).map((row) => document.importNode(row, true));
    segments.push(anchor.href);
    list.append(...rows);
    if (list.dataset.tail) list.dataset.tail = $("#rows", page).dataset.tail;
    const more = $("#more", page);
    if (more) $("#more").replaceWith(document.importNode(more, true));
    else $("#more").remove();
    applyFolds();
    if (rows[0]) $("summary", rows[0])?.focus({ preventScroll: true });
  } catch {
    location.href = anchor.href;
  }
}

// --- Following.

function replace(id, page) {
  const here = document.getElementById(id);
  const there = page.getElementById(id);
  if (!here || !there || here.innerHTML === there.innerHTML) return;
  const isList = here.matches("tbody, ol");
  if (isList) {
    merge(here, $$(":scope > [data-key]", there));
    return;
  }
  const focused = here.contains(document.activeElement) && document.activeElement.getAttribute("href");
  const made = document.importNode(there, true);
  here.replaceWith(made);
  if (focused) $$("a", made).find((a) => a.getAttribute("href") === focused)?.focus({ preventScroll: true });
}

function isAtBottom() {
  return window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 80;
}

// Fetch what is new for the page as it stands, and put it in its places.
async function renew() {
  const list = $("#rows");
  const follows = isAtBottom() && window.scrollY > 0;
  const isTimeline = Boolean(list?.dataset.tail);
  const page = await load(isTimeline ? list.dataset.tail : location.href);
  for (const region of $$("[data-live]")) {
    if (region !== list) replace(region.id, page);
  }
  if (isTimeline) {
    // Events are only ever added, behind the last one. With more of them one click away, there is nothing to add here.
    if (!$("#more")) {
      const known = new Set($$(":scope > .row", list).map((row) => row.dataset.key));
      const fresh = $$("#rows > .row", page).filter((row) => !known.has(row.dataset.key));
      for (const row of fresh.map((row) => document.importNode(row, true))) {
        row.classList.add("fresh");
        list.append(row);
      }
      if (fresh.length) list.dataset.tail = $("#rows", page).dataset.tail;
      const more = $("#more", page);
      if (more) list.after(document.importNode(more, true));
    }
  } else if (list?.hasAttribute("data-live")) {
    const pages = [page];
    for (const address of segments.slice(1)) pages.push(await load(address));
    merge(list, pages.flatMap((each) => $$("#rows > .row", each)));
    if (segments.length === 1) {
      const more = $("#more", page);
      if (more && !$("#more")) list.after(document.importNode(more, true));
    }
    applyFolds();
  }
  if (list?.children.length) $("#empty")?.remove();
  if (follows) window.scrollTo({ top: document.documentElement.scrollHeight });
}

let shown = Number($("#main")?.dataset.version ?? -1);
let gone = ""; // why this page is not there any more: what it shows was deleted

function say(state, words) {
  const place = $("#link-state");
  if (!place || (place.textContent === words && place.classList.contains(state))) return;
  place.className = `link-state ${state}`;
  place.textContent = words;
}

async function renewOrLearnWhyNot() {
  try {
    await renew();
    return "";
  } catch (error) {
    if (error.status !== 404) throw error;
    return error.message;
  }
}

async function poll() {
  if (document.visibilityState === "visible") {
    try {
      const answer = await fetch("version");
      if (!answer.ok) throw new Error(`${answer.status}`);
      const { version, trouble } = await answer.json();
      if (version !== shown) {
        gone = await renewOrLearnWhyNot();
        shown = version;
        if (!gone) $("#version").textContent = version.toLocaleString("en-US");
      }
      if (gone) say("lost", `gone: ${gone}`);
      else if (trouble) say("lost", `not read since version ${version.toLocaleString("en-US")}: ${trouble}`);
      else say("live", "live");
    } catch {
      say("lost", "not connected");
    }
  }
  setTimeout(poll, POLL_MS);
}

// --- Work in the background.

async function watchJobs() {
  for (const region of $$("[data-job]")) {
    try {
      replace(region.id, await load(region.dataset.job));
    } catch {
      // The next look may find it.
    }
  }
  if ($("[data-job]")) setTimeout(watchJobs, JOB_POLL_MS);
}

async function inline(anchor) {
  const target = anchor.dataset.inline.slice(1);
  try {
    replace(target, await load(anchor.href));
    watchJobs();
  } catch {
    location.href = anchor.href;
  }
}

// --- Keys.

function move(step) {
  const stops = $$("#rows > .row:not([hidden]), .entries > .row").map((row) => $("summary, td.id a", row)).filter(Boolean);
  const at = stops.findIndex((stop) => stop === document.activeElement || stop.parentElement.contains(document.activeElement));
  const next = stops[at < 0 ? (step > 0 ? 0 : stops.length - 1) : at + step];
  if (next) {
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  }
}

const KEYS = {
  "/": () => $("#q")?.focus(),
  j: () => move(1),
  k: () => move(-1),
  n: () => $('[rel="next"]')?.click(),
  p: () => $('[rel="prev"]')?.click(),
  u: () => $(".up")?.click(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const inField = event.target.closest("input, select, textarea");
  if (inField) {
    if (event.key === "Escape") inField.blur();
    return;
  }
  const action = KEYS[event.key];
  if (action) {
    event.preventDefault();
    action();
  }
});

document.addEventListener("toggle", (event) => {
  if (event.target.matches("details[data-src]")) open(event.target);
}, true);

document.addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  const target = event.target.closest("a.load, a[data-inline], .fold, [data-fold]");
  if (!target) return;
  event.preventDefault();
  if (target.matches("a.load")) loadMore(target);
  else if (target.matches("a[data-inline]")) inline(target);
  else if (target.matches(".fold")) {
    fold(target, target.getAttribute("aria-expanded") === "true");
    applyFolds();
  } else {
    for (const button of $$(".fold")) fold(button, target.dataset.fold === "all");
    applyFolds();
  }
});

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
});

$(".keys")?.removeAttribute("hidden");
$(".folding")?.removeAttribute("hidden");
applyFolds();
watchJobs();
poll();
