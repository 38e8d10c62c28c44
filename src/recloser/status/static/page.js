"use strict";

// The server renders; this keeps it fresh, counts seconds, opens the drawer and sends forms without leaving the page.
const base = document.body.dataset.base;
const table = document.querySelector("#breakers tbody");
const drawer = document.getElementById("drawer");
const content = document.querySelector(".content"); // of the drawer, or of a breaker's own page
const link = document.getElementById("link");
const told = document.getElementById("told");
let shown = null; // the drawer's breaker
let asked = 0; // how often the drawer's content was asked for
let answered = 0; // which of these is shown
let skew = 0; // milliseconds that the server's clock is ahead of ours
let pollTimer = null;
let overdue = null; // the timer that tells of a stream that is not resumed

function say(text) {
  (drawer?.open ? drawer : document.body).append(told); // what lies below an open drawer is neither seen nor spoken
  told.textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { told.textContent = ""; }, 8000);
}

function duration(seconds) {
  const left = Math.max(0, Math.floor(seconds));
  for (const [size, unit, smaller, itsUnit] of [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]]) {
    if (left < size) continue;
    const rest = Math.floor((left % size) / smaller);
    return `${Math.floor(left / size)} ${unit}${rest ? ` ${rest} ${itsUnit}` : ""}`;
  }
  return `${left} s`;
}

function linked(text, isFresh = false) {
  if (link.textContent !== text) link.textContent = text;
  link.dataset.state = isFresh ? "fresh" : "stale";
}

function tickClocks() {
  const now = Date.now() + skew;
  for (const each of document.querySelectorAll("time[data-since], time[data-over]")) {
    const seconds = (now - Date.parse(each.dateTime)) / 1000;
    const left = seconds > -1 ? each.dataset.over : `in ${duration(-seconds)}`;
    const text = "since" in each.dataset ? duration(seconds) : left;
    if (each.textContent !== text) each.textContent = text;
  }
}

// -- the table -----------------------------------------------------------------------------------------------

function elements(html) {
  // The server's own markup, in which it has escaped whatever came from elsewhere.
  const holder = document.createElement("template");
  holder.innerHTML = html;
  return [...holder.content.children];
}

function replaceRow(old, fresh) {
  const box = old.querySelector("input[type=checkbox]");
  const freshBox = fresh.querySelector("input[type=checkbox]");
  if (box && freshBox) {
    // A chosen breaker keeps the epoch that its chooser saw.
    freshBox.checked = box.checked;
    if (box.checked) freshBox.value = box.value;
  }
  const focused = old.contains(document.activeElement) ? document.activeElement.tagName : null;
  old.replaceWith(fresh);
  if (focused) fresh.querySelector(focused === "INPUT" ? "input" : "a")?.focus({ preventScroll: true });
}

function replaceSection(old, fresh) {
  if (old.innerHTML === fresh.innerHTML) return;
  const focused = old.contains(document.activeElement);
  old.replaceWith(fresh);
  if (focused) fresh.querySelector("[tabindex]")?.focus({ preventScroll: true });
}

function replaceChildren(old, fresh) {
  // What has not changed stays: somebody may have his finger or his focus on it.
  const parts = [...fresh.children];
  while (old.children.length > parts.length) old.lastElementChild.remove();
  parts.forEach((part, place) => {
    const known = old.children[place];
    if (!known) old.append(part);
    else if (known.outerHTML !== part.outerHTML) {
      const focused = [...known.querySelectorAll("a")].indexOf(document.activeElement);
      known.replaceWith(part);
      part.querySelectorAll("a")[focused]?.focus({ preventScroll: true });
    }
  });
}

// A click is lost when what is under the pointer is replaced meanwhile: news wait until it is lifted.
let isPressed = false;
const waiting = [];

function hear(news) {
  if (isPressed) waiting.push(news);
  else apply(news);
}

function lifted() {
  setTimeout(() => {
    isPressed = false;
    for (const news of waiting.splice(0)) apply(news);
  });
}

addEventListener("pointerdown", () => { isPressed = true; }, true);
for (const end of ["pointerup", "pointercancel", "blur"]) addEventListener(end, lifted, true);

function apply(news) {
  skew = Date.parse(news.at) - Date.now();
  const head = document.getElementById("head");
  const [freshHead] = elements(news.head);
  if (head.innerHTML !== freshHead.innerHTML) {
    // An alert is spoken when it comes, not each time a clock moves.
    const banners = (part) => [...part.querySelectorAll(".banner")].map((each) => each.textContent).join("\n");
    if (banners(head) === banners(freshHead)) {
      replaceChildren(head.querySelector(".summary"), freshHead.querySelector(".summary"));
    } else {
      head.replaceWith(freshHead);
    }
  }
  for (const [id, html] of Object.entries(news.sections)) replaceSection(document.getElementById(id), elements(html)[0]);
  const rows = new Map([...table.rows].map((row) => [row.dataset.name, row]));
  for (const fresh of elements(Object.values(news.rows).join(""))) {
    const name = fresh.dataset.name;
    const old = rows.get(name);
    if (old) replaceRow(old, fresh);
    rows.set(name, fresh);
  }
  const order = news.order.filter((name) => rows.has(name));
  const known = new Set(order);
  for (const [name, row] of rows) if (!known.has(name)) row.remove();
  const within = table.contains(document.activeElement) ? document.activeElement : null;
  order.forEach((name, place) => {
    const row = rows.get(name);
    if (table.rows[place] !== row) table.insertBefore(row, table.rows[place] ?? null);
  });
  within?.focus({ preventScroll: true });
  if (shown !== null && shown in news.rows) load(shown, false);
  tickClocks();
}

// -- fresh news ----------------------------------------------------------------------------------------------

function address(path, more = "") {
  const here = new URLSearchParams(location.search);
  const query = new URLSearchParams(more);
  for (const name of ["search", "show", "offset", "limit"]) if (here.get(name)) query.set(name, here.get(name));
  return `${base}${path}?${query}`;
}

function listen() {
  const source = new EventSource(address("/events", "rows=1"));
  const heard = (event) => {
    clearTimeout(overdue);
    overdue = null;
    linked("Live", true);
    hear(JSON.parse(event.data));
  };
  source.addEventListener("snapshot", heard);
  source.addEventListener("update", heard);
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) {
      clearTimeout(overdue);
      poll();
      return;
    }
    // A stream's end is no news: its life is bounded, and it is resumed at once.
    overdue ??= setTimeout(() => linked("Reconnecting…"), 5000);
  };
}

async function poll() {
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok) throw new Error(answer.status);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const rows = {};
    for (const row of fresh.querySelectorAll("#breakers tbody tr")) rows[row.dataset.name] = row.outerHTML;
    const at = fresh.querySelector("#head .summary time").dateTime;
    const sections = {};
    for (const id of ["workers", "changes"]) sections[id] = fresh.getElementById(id).outerHTML;
    hear({ at, head: fresh.getElementById("head").outerHTML, sections, rows, order: Object.keys(rows) });
    linked("Asking every 3 s", true);
  } catch {
    linked("No answer; asking again");
  }
  clearTimeout(pollTimer);
  pollTimer = setTimeout(poll, 3000);
}

// -- the drawer ----------------------------------------------------------------------------------------------

function isAtWork() {
  // Somebody is at work in there: what he saw stays until he is done.
  return content.contains(document.activeElement) || content.querySelector("input:not([type=hidden])")?.value;
}

async function load(name, isNew) {
  if (!isNew && isAtWork()) return;
  const mine = ++asked;
  let html;
  try {
    const answer = await fetch(`${base}/b/${encodeURIComponent(name)}?part=1`, { headers: { accept: "text/html" } });
    html = await answer.text();
  } catch {
    say("No answer: what is shown may be old.");
    return;
  }
  if (shown !== name || mine < answered || (!isNew && isAtWork())) return;
  answered = mine; // a slow answer must not bring back what was before
  const focused = content.contains(document.activeElement);
  const holder = document.createElement("template");
  holder.innerHTML = html;
  fill(holder.content);
  if (focused) drawer.querySelector(".close").focus();
  tickClocks();
}

function fill(fresh) {
  const open = [...content.querySelectorAll("details")].map((each) => each.open);
  content.replaceChildren(fresh);
  content.querySelectorAll("details").forEach((each, place) => { each.open = open[place] ?? false; });
}

function openDrawer(name) {
  shown = name;
  drawer.setAttribute("aria-label", `Breaker ${name}`);
  content.replaceChildren();
  drawer.showModal();
  load(name, true);
}

// -- a breaker's own page ------------------------------------------------------------------------------------

function keepTime() {
  skew = Date.parse(content.dataset.at) - Date.now();
  tickClocks();
}

async function reload() {
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok) throw new Error(answer.status);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (isPressed || isAtWork()) {
      linked("Stands still while you are at it");
    } else {
      const head = document.getElementById("head");
      if (head.innerHTML !== fresh.getElementById("head").innerHTML) head.replaceWith(fresh.getElementById("head"));
      const now = fresh.querySelector(".content");
      content.dataset.at = now.dataset.at;
      const parts = document.createDocumentFragment();
      parts.append(...now.childNodes);
      fill(parts);
      keepTime();
      linked("Asking every 3 s", true);
    }
  } catch {
    linked("No answer; asking again");
  }
  setTimeout(reload, 3000);
}

// -- actions -------------------------------------------------------------------------------------------------

async function send(form, button) {
  const fields = new FormData(form, button);
  button.disabled = true;
  try {
    const answer = await fetch(button.formAction, {
      method: "POST",
      headers: { accept: "application/json" },
      body: new URLSearchParams(fields),
    });
    const result = await answer.json();
    const several = result.results?.map((each) => each.text).join(" ");
    say(several ?? result.detail ?? result.text ?? "Done.");
    if (answer.ok) form.reset();
    if (answer.ok && form.id === "bulk") {
      for (const box of form.querySelectorAll("input[type=checkbox]")) box.checked = false;
      table.querySelector("input")?.focus({ preventScroll: true }); // the form is gone with what was chosen
    }
    button.disabled = false;
    if (shown !== null && (answer.ok || answer.status === 409)) load(shown, true);
  } catch {
    say("No answer: load the page to see what is.");
  } finally {
    button.disabled = false;
  }
}

if (table) {
  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (!button?.classList.contains("act")) return;
    event.preventDefault();
    if (event.target.id === "bulk" && !event.target.querySelector("input[type=checkbox]:checked")) {
      say("Choose at least one breaker.");
      return;
    }
    send(event.target, button);
  });
  table.addEventListener("click", (event) => {
    const anchor = event.target.closest("th a");
    if (!anchor || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    openDrawer(anchor.closest("tr").dataset.name);
  });
  drawer.querySelector(".close").addEventListener("click", () => drawer.close());
  drawer.addEventListener("click", (event) => { if (event.target === drawer) drawer.close(); });
  drawer.addEventListener("close", () => {
    document.body.append(told);
    const name = shown;
    shown = null;
    [...table.rows].find((row) => row.dataset.name === name)?.querySelector("a").focus();
  });
  document.querySelector("#filter select").addEventListener("change", (event) => event.target.form.requestSubmit());
  document.querySelector("#filter input").addEventListener("input", (event) => {
    const sought = event.target.value.trim().toLowerCase();
    for (const row of table.rows) row.hidden = !row.dataset.name.toLowerCase().includes(sought);
  });
  if (document.body.dataset.live === "events" && "EventSource" in window) listen();
  else poll();
} else if (content) {
  history.replaceState(null, "", location.pathname); // what was done need not be told again
  keepTime();
  linked("Asking every 3 s", true);
  setTimeout(reload, 3000);
}
setInterval(tickClocks, 1000);
