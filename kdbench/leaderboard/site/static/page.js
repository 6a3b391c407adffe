"use strict";

/* What all pages share: sections that a link points into are opened, print shows all that is folded. */

function openTarget() {
  const fragment = location.hash.slice(1);
  if (!fragment || fragment.includes("=")) return;
  const target = document.getElementById(fragment);
  for (let part = target; part; part = part.parentElement) {
    if (part instanceof HTMLDetailsElement) part.open = true;
  }
  if (target) target.scrollIntoView();
}

addEventListener("hashchange", openTarget);
openTarget();

/* The skip link must not take the place of the view's state in the address. */
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main").focus();
});

let unfolded = [];
addEventListener("beforeprint", () => {
  unfolded = [...document.querySelectorAll("details:not([open])")].filter((part) => part.id !== "all");
  for (const part of unfolded) part.open = true;
});
addEventListener("afterprint", () => {
  for (const part of unfolded) part.open = false;
});
