// Refreshes the page in place. What has not changed is not touched: open details, focus, selection and scroll position
// stay as they are. A selected text is not changed until it is not selected any more.
"use strict";
(() => {
  const SECONDS = 5, LONGEST_SECONDS = 30;
  const byId = (id) => document.getElementById(id);
  const pause = byId("pause"), problem = byId("problem");
  let paused = false, failures = 0, timer = 0;

  const isSelected = (node) => {
    const selection = getSelection();
    return selection && !selection.isCollapsed && selection.containsNode(node, true);
  };

  const isSame = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id || "") === (b.id || "");

  // Elements that move keep the focus: moveBefore() does so by itself, where there is one.
  const place = (parent, node, before) => {
    const focused = document.activeElement;
    if (parent.moveBefore) parent.moveBefore(node, before);
    else parent.insertBefore(node, before);
    if (node.contains(focused) && document.activeElement !== focused) focused.focus({ preventScroll: true });
  };

  const copyAttributes = (live, wanted) => {
    const own = (name) => name === "open" && live.nodeName === "DETAILS"; // the reader's
    for (const { name, value } of wanted.attributes)
      if (!own(name) && live.getAttribute(name) !== value) live.setAttribute(name, value);
    for (const { name } of [...live.attributes])
      if (!own(name) && !wanted.hasAttribute(name)) live.removeAttribute(name);
  };

  const morph = (live, wanted) => {
    if (live.nodeType === Node.TEXT_NODE) {
      if (live.data !== wanted.data && !isSelected(live)) live.data = wanted.data;
      return;
    }
    copyAttributes(live, wanted);
    const ids = new Set([...wanted.children].map((child) => child.id).filter(Boolean));
    const keyed = new Map();
    for (const child of [...live.children]) {
      if (child.id && ids.has(child.id)) keyed.set(child.id, child);
      else if (child.id) child.remove();
    }
    let next = live.firstChild;
    for (const child of [...wanted.childNodes]) {
      const match = child.id ? keyed.get(child.id) : next && isSame(next, child) ? next : null;
      if (!match) {
        live.insertBefore(document.importNode(child, true), next);
        continue;
      }
      if (match === next) next = next.nextSibling;
      else place(live, match, next);
      morph(match, child);
    }
    while (next) {
      const left = next;
      next = next.nextSibling;
      left.remove();
    }
  };

  const apply = (text) => {
    const wanted = new DOMParser().parseFromString(text, "text/html");
    if (!wanted.getElementById("page")) throw new Error("it is another page");
    document.title = wanted.title;
    for (const id of ["icon", "page", "as-of"]) morph(byId(id), wanted.getElementById(id));
  };

  const refresh = async () => {
    clearTimeout(timer);
    try {
      const response = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(20000) });
      if (!response.ok) throw new Error(`HTTP status ${response.status}`);
      apply(await response.text());
      failures = 0;
      problem.textContent = "";
    } catch (error) {
      failures += 1;
      problem.textContent = `This page is out of date: it cannot be refreshed (${error.message}). Is the port still forwarded?`;
    }
    schedule();
  };

  const schedule = () => {
    clearTimeout(timer);
    if (!paused && !document.hidden)
      timer = setTimeout(refresh, 1000 * Math.min(SECONDS * 2 ** failures, LONGEST_SECONDS));
  };

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
    if (paused) schedule();
    else refresh();
  });
  byId("refresh").addEventListener("click", (event) => {
    event.preventDefault();
    refresh();
  });
  document.addEventListener("visibilitychange", () => (document.hidden || paused ? schedule() : refresh()));
  schedule();
})();
