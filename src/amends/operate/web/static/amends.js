/* What the pages do beyond forms and links: they follow the sagas, and hear the keyboard.

   Guarantees: everything works without it; a refresh moves nothing that a person is using: focus, typed text, ticked
   boxes and opened details stay. Must not: hold state of its own beyond the page, or load anything from elsewhere. */

(() => {
  "use strict";

  const REFRESH_MS = 1000;
  const POLL_MS = 5000;
  const FIRST_MS = 1500;
  const find = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));

  // One tree made like another, keeping the elements that are in both

  // By attribute: a form's own `id` is hidden by a field with that name
  const keyOf = (node) => (node.nodeType === 1 && (node.getAttribute("id") || node.getAttribute("data-key"))) || "";
  const alike = (old, made) =>
    old.nodeType === made.nodeType && old.nodeName === made.nodeName && keyOf(old) === keyOf(made);
  const kept = (element, name) =>
    (name === "open" && /^(DETAILS|DIALOG)$/.test(element.nodeName)) ||
    (/^(INPUT|SELECT|TEXTAREA|OPTION)$/.test(element.nodeName) && /^(value|checked|selected)$/.test(name));

  function morph(old, made) {
    if (old.nodeType !== 1) {
      if (old.nodeValue !== made.nodeValue) old.nodeValue = made.nodeValue;
      return;
    }
    if (old.hasAttribute("data-own") || old.isEqualNode(made)) return;
    morphAttributes(old, made);
    if (old.hasAttribute("data-hold")) hold(old, made);
    else if (old.nodeName !== "TEXTAREA") morphChildren(old, made);
  }

  function morphAttributes(old, made) {
    for (const { name, value } of Array.from(made.attributes)) {
      if (!kept(old, name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of Array.from(old.attributes)) {
      if (!kept(old, name) && !made.hasAttribute(name)) old.removeAttribute(name);
    }
  }

  function morphChildren(old, made) {
    let next = old.firstChild;
    for (const child of Array.from(made.childNodes)) {
      let fits = next;
      while (fits && !alike(fits, child)) fits = fits.nextSibling;
      if (!fits) {
        old.insertBefore(child, next);
        continue;
      }
      if (keyOf(child)) {
        if (fits !== next) old.insertBefore(fits, next);
        else next = next.nextSibling;
      } else {
        while (next !== fits) {
          const gone = next;
          next = next.nextSibling;
          gone.remove();
        }
        next = next.nextSibling;
      }
      morph(fits, child);
    }
    while (next) {
      const gone = next;
      next = next.nextSibling;
      gone.remove();
    }
  }

  // Rows of a list change where they stand; none comes or goes under a person's hand

  function hold(old, made) {
    const rows = new Map(Array.from(old.children, (row) => [keyOf(row), row]));
    let fresh = 0;
    for (const row of Array.from(made.children)) {
      const there = rows.get(keyOf(row));
      if (there) morph(there, row);
      else fresh += 1;
    }
    const here = new Set(Array.from(made.children, keyOf));
    const gone = Array.from(rows.keys()).filter((key) => !here.has(key)).length;
    const notice = find("#newer");
    if (!notice) return;
    notice.hidden = fresh + gone === 0;
    find("[data-said]", notice).textContent = [
      fresh ? `${fresh} new` : "",
      gone ? `${gone} no longer on this page` : "",
    ].filter(Boolean).join(", ");
  }

  window.htmx?.defineExtension("morph", {
    isInlineSwap: (style) => style === "morph",
    handleSwap: (style, target, fragment) => {
      if (style !== "morph") return false;
      const made = fragment.nodeType === 11 ? fragment.firstElementChild : fragment;
      if (made) morph(target, made);
      return [target];
    },
  });

  // Following: the server says that something changed, the page asks for itself

  let refreshed = Date.now();
  let planned = 0;
  let stale = false;
  let asking = false;
  let source = null;

  function refresh() {
    planned = 0;
    if (document.hidden || asking) {
      stale = true;
      return;
    }
    stale = false;
    asking = true;
    refreshed = Date.now();
    const here = location.pathname + location.search;
    const asked = window.htmx.ajax("GET", here, { target: "#page", select: "#page", swap: "morph" });
    const over = () => {
      asking = false;
      if (stale) changed();
    };
    asked.then(over, over); // one that was not answered is asked again with the next change
  }

  function changed() {
    if (!planned) planned = window.setTimeout(refresh, Math.max(0, refreshed + REFRESH_MS - Date.now()));
  }

  function say(state, words) {
    for (const element of all(".live")) {
      element.dataset.state = state;
      element.textContent = words;
    }
  }

  function listen(address) {
    source = new EventSource(address);
    source.onopen = () => {
      say("on", "live");
      window.setTimeout(changed, FIRST_MS); // what changed before the server first looked, it has not told
    };
    source.onmessage = changed;
    source.addEventListener("changed", changed);
    source.onerror = () => {
      say("off", "not live, trying again");
      if (source.readyState === EventSource.CLOSED) {
        say("off", `every ${POLL_MS / 1000} s`);
        window.setInterval(changed, POLL_MS);
      }
    };
  }

  // Only who is seen listens: a browser has six connections to a server for all its pages together
  function follow() {
    const address = find("#page")?.dataset.live;
    if (!address || !window.htmx || !window.EventSource) return;
    const turn = () => {
      source?.close();
      if (!document.hidden) listen(address);
    };
    document.addEventListener("visibilitychange", turn);
    window.addEventListener("pagehide", () => source?.close());
    turn();
  }

  function missed() {
    say("off", "not live, trying again");
    window.setTimeout(changed, POLL_MS);
  }

  // A page that comes out of the browser's own store is as old as when it was left, and so are its forms
  window.addEventListener("pageshow", (event) => event.persisted && location.reload());
  document.addEventListener("visibilitychange", () => !document.hidden && stale && changed());
  // What is no page replaces none on which somebody may be writing, unless there is nothing more to be done on it
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target?.id !== "page") return;
    const { status, responseText } = event.detail.xhr;
    if (status === 200 && /id="page"/.test(responseText)) {
      if (source?.readyState === EventSource.OPEN) say("on", "live");
      return;
    }
    event.detail.shouldSwap = false;
    if (status >= 500 || status === 429) missed();
    else location.reload();
  });

  // The keyboard

  const rows = () => all("[data-row]");
  const PLACES = { o: "overview", s: "sagas", t: "stuck", b: "bulk", w: "workers", d: "definitions" };
  let leader = false;

  function step(by) {
    const list = rows();
    if (!list.length) return;
    const at = list.findIndex((row) => row.closest("tr, li").contains(document.activeElement));
    list[Math.min(Math.max(at + by, 0), list.length - 1)].focus();
  }

  function tick() {
    const box = find("[data-pick]", document.activeElement?.closest("tr") ?? document.createElement("i"));
    if (box) box.click();
  }

  function pressed(event) {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.nodeName) && event.target.type !== "checkbox";
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (typing) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (leader && PLACES[event.key]) {
      find(`.bar nav a[data-place="${PLACES[event.key]}"]`)?.click();
      leader = false;
      return;
    }
    leader = event.key === "g";
    const does = {
      "/": () => find("#find")?.focus(),
      "?": () => find("#help")?.showModal(),
      j: () => step(1),
      k: () => step(-1),
      x: tick,
    }[event.key];
    if (!does || find("dialog[open]")) return;
    event.preventDefault();
    does();
  }

  // Picking rows

  function picked() {
    const boxes = all("[data-pick]");
    const count = boxes.filter((box) => box.checked).length;
    const whole = find("[data-pick-all]");
    if (whole) {
      whole.checked = count > 0 && count === boxes.length;
      whole.indeterminate = count > 0 && count < boxes.length;
    }
    for (const element of all("[data-picked]")) element.textContent = count ? `${count} ticked` : "none ticked";
    for (const element of all("[data-needs-pick]")) element.disabled = !count;
  }

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-pick-all]")) {
      for (const box of all("[data-pick]")) box.checked = event.target.checked;
    }
    if (event.target.matches("[data-pick], [data-pick-all]")) picked();
    if (event.target.matches("[data-go]")) event.target.form.requestSubmit();
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-help]")) find("#help")?.showModal();
    if (event.target.closest("[data-reload]")) location.reload();
  });
  document.addEventListener("submit", (event) => {
    // A second click on the same button sends nothing twice; the form's message id would count it once anyway
    if (event.target.dataset.sent) event.preventDefault();
    if (event.target.getAttribute("method") === "post") event.target.dataset.sent = "yes";
  });
  document.addEventListener("keydown", pressed);

  picked();
  follow();
})();
