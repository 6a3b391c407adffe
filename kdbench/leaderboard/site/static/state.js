"use strict";

/* The state of a view lives in the address's fragment: every view has an address, and the back button works. */

function readState() {
  const fragment = location.hash.slice(1);
  return new URLSearchParams(fragment.includes("=") ? fragment : "");
}

/** Write what differs from the default; `quiet` replaces the entry of the history, for what is being typed. */
function writeState(values, quiet = false) {
  const state = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) if (value) state.set(name, value);
  const text = state.toString().replaceAll("%2C", ",").replaceAll("%2F", "/");
  if (text === readState().toString().replaceAll("%2C", ",").replaceAll("%2F", "/")) return;
  const address = text ? `#${text}` : location.pathname + location.search;
  if (quiet) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
}

/** Call `render` when the address changes, by the back button or by hand; an anchor within the page is no view. */
function onState(render) {
  addEventListener("popstate", () => {
    if (!location.hash || location.hash.includes("=")) render();
  });
}

const DATA = JSON.parse(document.getElementById("data").textContent);
