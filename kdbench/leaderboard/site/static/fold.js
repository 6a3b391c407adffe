"use strict";

/* Families of columns: each shows its first column, and opens to all of them. */

const GROUPS = [...table.tHead.querySelectorAll("tr.groups th")].map((head, index) => ({
  head,
  button: head.querySelector("button"),
  name: head.textContent.trim(),
  count: Number(head.dataset.count),
  mark: `fold${index}`,
}));

// A rule for each family that there is: the style sheet cannot count them.
GROUPS.forEach(({ mark }, index) => document.styleSheets[0].insertRule(`.${mark} .g${index}.more { display: none; }`));

/** The family of a column, which is open while the table is sorted by it. */
function familyOf(column) {
  const head = HEADS.find((one) => one.dataset.column === column);
  const place = GROUPS.findIndex((group, index) => head && head.classList.contains(`g${index}`));
  return head && head.classList.contains("more") ? GROUPS[place]?.name : undefined;
}

function applyFolds(open, column) {
  const needed = familyOf(column);
  for (const { head, button, name, count, mark } of GROUPS) {
    const whole = count === 1 || open.includes(name) || name === needed;
    table.classList.toggle(mark, !whole);
    head.colSpan = whole ? count : 1;
    button.disabled = count === 1;
    if (count > 1) button.setAttribute("aria-expanded", String(whole));
  }
}

for (const { button, name } of GROUPS) {
  button.addEventListener("click", () => {
    const { open } = currentState();
    change({ open: open.includes(name) ? open.filter((other) => other !== name) : [...open, name] });
  });
}
