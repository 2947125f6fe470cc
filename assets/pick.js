// The letter beside the form: a click on a part of it, or a choice from the list, fills in the part's address. Without this script the address is typed.
"use strict";
(() => {
  const frame = document.getElementById("letter-frame");
  const list = document.getElementById("letter-part");
  const around = document.getElementById("letter-around");
  const note = document.getElementById("letter-note");
  const block = document.getElementById("block");
  if (!frame || !list || !around || !note || !block) return;
  const words = { text: "text", link: "link", style: "style", image: "image", presence: "presence", rule: "rule" };
  let parts = [];
  let rules = [];
  const isPart = (part) => part && typeof part.address === "string" && typeof part.tag === "string" && typeof part.words === "string" && Array.isArray(part.facets);
  const label = (part) => `${part.tag}${part.words ? ` “${part.words.slice(0, 60)}”` : ""}`;
  const radio = (facet) => document.querySelector(`input[name="element"][value="block-${facet}"]`);

  const choose = (address, facets, what) => {
    block.value = address;
    const now = document.querySelector('input[name="element"]:checked')?.value.replace("block-", "");
    const facet = facets.some(([name]) => name === now) ? now : facets[0]?.[0];
    if (words[facet] && radio(facet)) {
      radio(facet).checked = true;
      radio(facet).dispatchEvent(new Event("change", { bubbles: true }));
    }
    const is = facets.find(([name]) => name === facet)?.[1];
    note.textContent = `Chosen: ${what}. Its ${words[facet] || "value"} varies${is ? `; now it is “${String(is).slice(0, 200)}”` : ""}. May vary here: ${facets.map(([name]) => words[name] || "").join(", ")}.`;
    block.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const pick = (number) => {
    const part = parts[number];
    if (!part) return;
    list.value = String(number);
    choose(part.address, part.facets, label(part));
  };

  window.addEventListener("message", (event) => {
    // Only the frame, and of it only what has the shape expected: its words are shown as text and never as markup.
    if (event.source !== frame.contentWindow || !event.data || typeof event.data.letterlab !== "object") return;
    const told = event.data.letterlab;
    if (told.parts && Array.isArray(told.parts.parts) && told.parts.parts.every(isPart) && Array.isArray(told.parts.rules)) {
      parts = told.parts.parts;
      rules = told.parts.rules.filter((rule) => typeof rule === "string");
      const options = parts.map((part, number) => new Option(label(part), String(number)));
      const sheet = rules.map((rule, number) => new Option(`rule ${rule}`, `rule-${number}`));
      list.replaceChildren(new Option("Choose a part…", ""), ...options, ...sheet);
      list.closest(".field").hidden = false;
      frame.hidden = false;
      around.replaceChildren();
      note.textContent = `${parts.length} parts can vary. Click one in the letter, or choose it from the list.`;
    }
    if (Array.isArray(told.picked) && told.picked.length > 0) {
      const numbers = told.picked.filter((number) => Number.isInteger(number) && parts[number]);
      pick(numbers[0]);
      around.replaceChildren(...numbers.slice(1, 6).map((number) => {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "button plain";
        button.textContent = `around it: ${parts[number].tag}`;
        button.addEventListener("click", () => pick(number));
        return button;
      }));
    }
  });
  list.addEventListener("change", () => {
    around.replaceChildren();
    if (list.value.startsWith("rule-")) {
      const rule = rules[Number(list.value.slice("rule-".length))];
      if (rule) choose(rule, [["rule", ""]], `rule ${rule}`);
    } else if (list.value) pick(Number(list.value));
  });
  document.getElementById("letter-show")?.addEventListener("click", () => { frame.hidden = false; });
})();
