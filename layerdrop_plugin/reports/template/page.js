"use strict";

// A click on a column head sorts its table: ascending, descending, as it was. Cells with data-value are compared by that
// number, others as text; a dash is a missing value and stays at the end.

const NEXT = { none: "ascending", ascending: "descending", descending: "none" };

function compare(left, right, sign) {
  const missing = [left, right].map((cell) => ["", "-"].includes(cell.textContent));
  if (missing[0] || missing[1]) return missing[0] - missing[1];
  if ("value" in left.dataset && "value" in right.dataset) return sign * (left.dataset.value - right.dataset.value);
  return sign * left.textContent.localeCompare(right.textContent, "en", { numeric: true });
}

for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...body.rows];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const order = NEXT[head.getAttribute("aria-sort") || "none"];
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (order !== "none") head.setAttribute("aria-sort", order);
      const sign = order === "descending" ? -1 : 1;
      const sorted = [...rows];
      if (order !== "none") sorted.sort((left, right) => compare(left.cells[column], right.cells[column], sign));
      body.append(...sorted);
    });
  });
}
