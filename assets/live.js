// Keeps a section with data-live up to date: fetches its fragment every two seconds while data-running is "true".
// Without this script the "Reload" link does the same. Nothing is fetched while the page is hidden.
"use strict";
(() => {
  const pause = 2000;
  const spokenEvery = 20000;
  let failures = 0;
  let spoken = 0;

  const section = () => document.querySelector("[data-live]");
  const say = (text) => {
    const status = document.getElementById("live-status");
    if (status && status.textContent !== text) status.textContent = text;
  };
  const wait = () => window.setTimeout(step, Math.min(pause * 2 ** failures, 60000));

  async function step() {
    const old = section();
    if (!old || old.dataset.running !== "true") return;
    if (document.hidden) return wait();
    try {
      const answer = await fetch(old.dataset.live, { credentials: "same-origin", headers: { Accept: "text/html" }, redirect: "error" });
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-live]");
      if (!fresh) throw new Error("no fragment");
      if (old.contains(document.activeElement)) {
        // Replacing the focused link would throw a keyboard user back to the top of the page.
        window.setTimeout(() => document.querySelector("[data-reload]")?.focus(), 0);
      }
      old.replaceWith(document.importNode(fresh, true));
      failures = 0;
      const now = Date.now();
      const ended = fresh.dataset.running !== "true";
      if (ended || now - spoken > spokenEvery) {
        spoken = now;
        say(fresh.dataset.summary || "");
      }
      if (ended) window.location.reload();
    } catch (error) {
      failures = Math.min(failures + 1, 5);
      if (failures === 3) say("Progress cannot be fetched just now; trying again.");
    }
    wait();
  }

  if (section()) wait();
})();
