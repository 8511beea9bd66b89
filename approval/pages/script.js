// Three comforts; everything works without them: local times, the live preview, and pages that follow what happens.
(() => {
  "use strict";
  const EVERY_MS = 2000;

  // Times are stored and sent as UTC; shown as the reader's own, with the zone.
  const own = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const zone = new Intl.DateTimeFormat(undefined, { timeZoneName: "short" });
  const localise = (root) => root.querySelectorAll("time[datetime]").forEach((time) => {
    const date = new Date(time.dateTime);
    const name = zone.formatToParts(date).find((part) => part.type === "timeZoneName").value;
    time.title = time.textContent;
    time.textContent = `${own.format(date)} ${name}`;
  });

  // New HTML goes only where it differs, so that nothing flickers and no focus is lost.
  const seen = new Map();
  const put = (part, html) => {
    if (!part || seen.get(part) === html) return;
    const first = !seen.has(part);
    seen.set(part, html);
    if (first && part.dataset.fresh === html) return;
    part.innerHTML = html;
    localise(part);
  };

  localise(document);
  const typed = document.querySelector("[data-timezone]");
  const unset = document.querySelector('[name="start"]');
  if (typed && typed.value === "UTC" && !unset.value) typed.value = Intl.DateTimeFormat().resolvedOptions().timeZone;

  // ---- follow a request
  const poll = document.querySelector("[data-poll]");
  if (poll) {
    const again = async () => {
      let live = true;
      try {
        const answer = await fetch(poll.dataset.poll, { credentials: "same-origin", redirect: "manual" });
        if (answer.type === "opaqueredirect") return location.reload(); // signed out: to sign in, and back
        if (!answer.ok) return;
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        const counted = document.querySelector("[data-reload]") && fresh.querySelector(".figures");
        if (counted && !document.querySelector("textarea:focus")) return location.reload();
        for (const part of fresh.querySelectorAll("[data-part]")) {
          const here = poll.querySelector(`[data-part="${part.dataset.part}"]`);
          if (here && !here.contains(document.activeElement)) put(here, part.innerHTML);
        }
        live = fresh.querySelector("[data-live]") !== null;
      } catch { /* the network comes back */ }
      if (live) setTimeout(again, EVERY_MS);
    };
    if (poll.querySelector("[data-live]")) setTimeout(again, EVERY_MS);
  }

  // ---- preview while somebody types
  const form = document.querySelector("[data-preview]");
  if (form) {
    let timer, number = 0;
    const touched = new Set();
    const show = async (count) => {
      const mine = ++number;
      const body = new URLSearchParams(new FormData(form));
      if (count) body.set("count", "yes");
      try {
        const answer = await fetch(form.dataset.preview, { method: "POST", body, credentials: "same-origin", redirect: "manual" });
        if (!answer.ok || mine !== number) return;
        const shown = await answer.json();
        put(document.querySelector('[data-part="audience"]'), shown.audience);
        const phones = document.querySelector('[data-part="phones"]');
        if (!phones.contains(document.activeElement)) put(phones, shown.phones);
        else if (document.activeElement.id === "sample") { put(phones, shown.phones); document.getElementById("sample").focus(); }
        for (const fault of document.querySelectorAll("[data-fault]")) {
          const name = fault.dataset.fault;
          if (!touched.has(name)) continue;
          fault.textContent = shown.faults[name] || "";
          const field = form.elements[name];
          if (field && field.setAttribute) field.toggleAttribute("aria-invalid", name in shown.faults);
        }
        if (shown.counting) { clearTimeout(timer); timer = setTimeout(() => show(false), EVERY_MS); }
      } catch { /* the next key tries again */ }
    };
    const changed = (event) => {
      if (event.target.name) touched.add(event.target.name);
      clearTimeout(timer);
      timer = setTimeout(() => show(event.target.name === "audience"), 250);
    };
    document.addEventListener("input", (event) => { if (event.target.form === form) changed(event); });
    if (form.querySelector(".spinner")) timer = setTimeout(() => show(false), EVERY_MS);
  }

  // A second click on the same button sends nothing.
  document.addEventListener("submit", (event) => {
    if (event.target.dataset.sent) return event.preventDefault();
    event.target.dataset.sent = "yes";
    setTimeout(() => delete event.target.dataset.sent, 5000);
  });
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
})();
