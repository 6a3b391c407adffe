"use strict";

/* The difference of any two rows, with its interval and its test. */

const KEYS = DATA.rows.map((row) => row[0]);
const bytesOf = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
const PAIRS = (DATA.pairs ?? []).map((pairs) => pairs && [pairs[0], bytesOf(pairs[1])]);
const TESTS = (DATA.tests ?? []).map((tests) => tests && bytesOf(tests)); // on the page of comparisons

/** Half width, p-value and facts of the difference of two rows, the first above the second; null for none. */
function pairOf(axis, low, high) {
  const [largest, bytes] = PAIRS[axis];
  const place = low * KEYS.length - (low * (low + 1)) / 2 + (high - low - 1);
  const [first, second, third] = bytes.subarray(3 * (place >> 1)); // of two pairs
  const word = place % 2 ? (second >> 4) + 16 * third : first + 256 * (second & 15);
  if (word >> 2 === DATA.levels) return null;
  const test = TESTS[axis]?.[place] ?? 255;
  const p = test === 255 ? null : 10 ** (-test / DATA.steps);
  return { half: (largest * (word >> 2)) / (DATA.levels - 1), p, significant: Boolean(word & 2), paired: Boolean(word & 1) };
}

/** How much better row i is than row j on an axis: paired where the page has it, else from the two intervals. */
function difference(axis, i, j) {
  const [a, b] = [DATA.rows[i].at(-1)[axis], DATA.rows[j].at(-1)[axis]];
  if (!a || !b) return null;
  const value = (DATA.axes[axis][3] ? 1 : -1) * (a[0] - b[0]);
  const dashed = dashes(a, b);
  if (!PAIRS[axis]) return { value, half: Math.hypot((a[2] - a[1]) / 2, (b[2] - b[1]) / 2), p: null, significant: null, dashed };
  const found = pairOf(axis, Math.min(i, j), Math.max(i, j));
  return found && { value, dashed, ...found };
}

function signed(value, unit, digits = 2) {
  const text = shown(Math.abs(value), unit, digits);
  return `${value < 0 ? "−" : "+"}${text}`;
}
