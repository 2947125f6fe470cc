// Runs inside the sandboxed letter: tells the form which parts there are and which was clicked. The letter's own scripts cannot run.
"use strict";
(() => {
  const found = {PARTS};
  const tell = (message) => parent.postMessage({ letterlab: message }, "*");
  const numberOf = (element) => {
    const marked = element.getAttribute("{ATTRIBUTE}");
    if (marked !== null) return Number(marked);
    for (const name of element.classList) if (name.startsWith("{CLASS}")) return Number(name.slice("{CLASS}".length));
    return -1;
  };
  const chain = (element) => {
    const numbers = [];
    for (; element && element.nodeType === 1; element = element.parentElement) {
      const number = numberOf(element);
      if (found.parts[number] && !numbers.includes(number)) numbers.push(number);
    }
    return numbers;
  };
  const nearest = (element) => {
    while (element && element.nodeType === 1 && !found.parts[numberOf(element)]) element = element.parentElement;
    return element && element.nodeType === 1 ? element : null;
  };
  let over = null;
  document.addEventListener("mouseover", (event) => {
    if (over) over.removeAttribute("data-letterlab-over");
    over = nearest(event.target);
    if (over) over.setAttribute("data-letterlab-over", "");
  });
  document.addEventListener("click", (event) => {
    event.preventDefault();
    event.stopPropagation();
    tell({ picked: chain(event.target) });
  }, true);
  document.addEventListener("submit", (event) => event.preventDefault(), true);
  tell({ parts: found });
})();
