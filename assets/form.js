// The campaign's form. Unused variants stay folded until asked for; a chosen file becomes the text of its letter, to be seen and changed.
// Without this script all variants are simply visible, and files are read when the form arrives.
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
      [...next.querySelectorAll("textarea, input")].find((field) => field.offsetParent !== null)?.focus();
    }
    button.hidden = spares.length === 0;
  });
})();
(() => {
  const formats = { mjml: "mjml", html: "html", htm: "html", md: "markdown", txt: "markdown" };
  for (const input of document.querySelectorAll("input[type=file][data-into]")) {
    input.addEventListener("change", async () => {
      const file = input.files[0];
      const area = document.getElementById(input.dataset.into);
      if (!file || !area) return;
      let text;
      try {
        text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
      } catch {
        return; // No text: the file goes along, and the answer says what is wrong with it.
      }
      area.value = text;
      const format = formats[file.name.split(".").pop().toLowerCase()];
      const select = document.getElementById(input.dataset.format);
      const radio = document.querySelector(`input[type=radio][name="${input.dataset.format}"][value="${format}"]`);
      if (format && select) select.value = format;
      if (format && radio) radio.checked = true;
      input.value = ""; // What is seen is what is sent, once.
    });
  }
})();
