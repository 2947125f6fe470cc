// New campaign: unused variants C and D stay folded until asked for. Without this script they are simply visible.
"use strict";
(() => {
  const button = document.getElementById("add-variant");
  const spares = [...document.querySelectorAll(".variant-input.spare.unused")];
  if (!button || spares.length === 0) return;
  for (const spare of spares) spare.hidden = true;
  button.hidden = false;
  button.addEventListener("click", () => {
    const next = spares.shift();
    if (next) {
      next.hidden = false;
      next.querySelector("textarea")?.focus();
    }
    button.hidden = spares.length === 0;
  });
})();
