// Keeps the page fresh, asks the policy without leaving it, and acts for an operator. Texts of others are only ever
// copied from node to node, or set as text.
"use strict";

const EVERY = 2000;
const LONGEST = 30000;
const TOKEN = "socksd-token";
const byId = (id) => document.getElementById(id);

let pause = EVERY;
let timer = 0;
let asking = null;

// ---- what somebody who signed in shows

const token = () => sessionStorage.getItem(TOKEN);

function headers() {
  return token() ? { Authorization: "Bearer " + token() } : {};
}

function forget() {
  sessionStorage.removeItem(TOKEN);
  showTools();
}

function showTools() {
  byId("tools").hidden = false;
  byId("sign-out").hidden = !token();
  byId("sign-in").hidden = !!token() || byId("me").dataset.signIn !== "true";
}

// ---- one sentence for everybody, read out when it changes

let silence = 0;

function say(text, isBad = false) {
  const word = byId("word");
  clearTimeout(silence);
  // Good news is old soon.
  if (!isBad && byId("pause").getAttribute("aria-pressed") !== "true") silence = setTimeout(say, 10000, "");
  word.classList.toggle("bad", isBad);
  if (word.textContent !== text) word.textContent = text;
}

// ---- the page's own markup, read by the browser as a document in which nothing runs

function load(path) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("GET", path);
    request.responseType = "document";
    request.timeout = 20000;
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.onload = () => {
      if (request.status === 200 && request.response) return done(request.response);
      failed(Object.assign(new Error("the gateway answers " + request.status), { status: request.status }));
    };
    request.onerror = request.ontimeout = () => failed(new Error("the gateway does not answer"));
    request.send();
  });
}

// Makes `old` what `now` is, and leaves alone whatever is the same: the focus and a selection stay where they are.
function merge(old, now) {
  if (old.nodeType !== now.nodeType || old.nodeName !== now.nodeName) {
    old.replaceWith(document.importNode(now, true));
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== now.data) old.data = now.data;
    return;
  }
  for (const { name } of [...old.attributes]) if (!now.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  for (const { name, value } of now.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const known = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  const kept = new Set([...now.children].map((child) => child.id).filter(Boolean));
  for (const [id, child] of known) if (!kept.has(id)) child.remove();
  let place = old.firstChild;
  for (const child of [...now.childNodes]) {
    const same = child.id ? known.get(child.id) : null;
    if (same) {
      if (same !== place) move(old, same, place);
      else place = place.nextSibling;
      merge(same, child);
    } else if (place && !place.id && !child.id && place.nodeName === child.nodeName) {
      const next = place.nextSibling;
      merge(place, child);
      place = next;
    } else {
      old.insertBefore(document.importNode(child, true), place);
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function move(parent, child, place) {
  const focused = child.contains(document.activeElement) ? document.activeElement : null;
  parent.insertBefore(child, place);
  if (focused) focused.focus({ preventScroll: true });
}

function query(form) {
  return new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== "")).toString();
}

// ---- what changes by itself

async function refresh() {
  clearTimeout(timer);
  const mine = (asking = {});
  try {
    const now = await load("/part/live?" + query(byId("filter")));
    if (mine !== asking) return;
    for (const id of ["me", "gateway", "session-list", "denial-list", "shadow"]) merge(byId(id), now.getElementById(id));
    showTools();
    if (pause > EVERY) say("The gateway answers again.");
    pause = EVERY;
  } catch (error) {
    if (mine !== asking) return;
    if (error.status === 401) {
      forget();
      say("That is not the token: signed out.", true);
    } else {
      pause = Math.min(pause * 2, LONGEST);
      say("No news: " + error.message + ". What is shown may be old; the page tries again.", true);
    }
  }
  again();
}

function again() {
  clearTimeout(timer);
  const rests = document.hidden || byId("pause").getAttribute("aria-pressed") === "true";
  if (!rests) timer = setTimeout(refresh, pause);
}

byId("pause").addEventListener("click", (event) => {
  const button = event.currentTarget;
  const pauses = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(pauses));
  if (pauses) {
    asking = null;
    clearTimeout(timer);
    say("Paused: the page stays as it is.");
  } else {
    say("");
    refresh();
  }
});
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : again()));

// ---- filter

async function filter() {
  const text = query(byId("filter"));
  history.replaceState(null, "", text ? "/?" + text : "/");
  await refresh();
  const found = byId("session-list").querySelector("p");
  if (found) say("Sessions: " + found.textContent);
}

byId("filter").addEventListener("submit", (event) => {
  event.preventDefault();
  filter();
});
byId("filter").addEventListener("change", (event) => {
  if (event.target.tagName === "SELECT") filter();
});
byId("clear").addEventListener("click", (event) => {
  event.preventDefault();
  for (const input of byId("filter").querySelectorAll("input")) input.value = "";
  for (const select of byId("filter").querySelectorAll("select")) select.selectedIndex = select.name === "limit" ? 1 : 0;
  filter();
});

// ---- explain

async function explain() {
  try {
    const now = await load("/part/explain?" + query(byId("question")));
    merge(byId("answer"), now.getElementById("answer"));
    const verdict = byId("answer").querySelector(".verdict, .notice, .note");
    say(verdict ? verdict.textContent : "");
    byId("explain").scrollIntoView({ block: "nearest" });
  } catch (error) {
    say("No answer: " + error.message, true);
  }
}

function fill(form, values) {
  form.reset();
  for (const field of form.elements) {
    if (!field.name) continue;
    const value = values.get(field.name);
    if (field.tagName === "SELECT") field.selectedIndex = Math.max(0, [...field.options].findIndex((o) => o.value === value));
    else field.value = value || "";
  }
  const more = form.querySelector("details");
  more.open = ["groups", "groups-missing", "peer", "at"].some((name) => values.get(name));
}

byId("question").addEventListener("submit", (event) => {
  event.preventDefault();
  explain();
});
byId("denials").addEventListener("click", (event) => {
  const link = event.target.closest("a.ask");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  fill(byId("question"), new URL(link.href).searchParams);
  byId("question").elements.to.focus({ preventScroll: true });
  explain();
});

// ---- acts

async function post(path) {
  const response = await fetch(path, { method: "POST", headers: headers(), redirect: "error", credentials: "omit" });
  const answer = await response.json().catch(() => ({}));
  if (response.status === 401) forget();
  if (!response.ok) throw new Error(answer.error || "the gateway answers " + response.status);
  return answer;
}

let meant = null;

byId("sessions").addEventListener("click", (event) => {
  const button = event.target.closest("button.end");
  if (!button) return;
  meant = { ...button.dataset };
  const facts = [
    ["Identity", meant.identity || "not yet known"],
    ["Source", meant.client],
    ["Target", meant.target],
    ["Rule", meant.rule],
    ["Session", meant.session],
  ];
  byId("end-facts").replaceChildren(
    ...facts.flatMap(([name, text]) => {
      const [term, fact] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = name;
      fact.textContent = text;
      return [term, fact];
    }),
  );
  byId("end-all").hidden = !meant.identity;
  byId("end-who").textContent = meant.identity || "";
  const dialog = byId("end");
  dialog.querySelector("form").reset();
  dialog.returnValue = "";
  dialog.showModal();
});

byId("end").addEventListener("close", async () => {
  if (byId("end").returnValue !== "end" || !meant) return;
  const all = byId("end").querySelector("input[value=all]").checked && meant.identity;
  const one = "/api/sessions/" + encodeURIComponent(meant.session) + "/end";
  try {
    const path = all ? "/api/sessions/end?" + new URLSearchParams({ identity: meant.identity }) : one;
    const { ended } = await post(path);
    await refresh();
    say(ended === 1 ? "1 session ended." : ended + " sessions ended.");
  } catch (error) {
    say("Nothing was ended: " + error.message, true);
  }
});

// ---- sign in and out

byId("sign-in").addEventListener("click", () => {
  byId("token").value = "";
  byId("sign").returnValue = "";
  byId("sign").showModal();
  byId("token").focus();
});
byId("sign-cancel").addEventListener("click", () => byId("sign").close("cancel"));
byId("sign").addEventListener("close", async () => {
  const shown = byId("token").value.trim();
  byId("token").value = "";
  if (byId("sign").returnValue !== "sign-in" || !shown) return;
  // A header takes nothing else, and no token has more.
  if (!/^[!-~]+$/.test(shown)) return say("That is not the token.", true);
  sessionStorage.setItem(TOKEN, shown);
  await refresh();
  if (token()) say("Signed in: you may end sessions.");
});
byId("sign-out").addEventListener("click", async () => {
  forget();
  await refresh();
  say("Signed out.");
});

showTools();
if (token()) refresh();
else again();
