// Five comforts; everything works without them: local times, the live preview, pages that follow what happens, what takes
// a moment to find out, and what was typed when a session ended.
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

  // What takes a moment is asked for after the page is there; without a script it is a link.
  const later = (root) => root.querySelectorAll("[data-later]").forEach(async (place) => {
    try {
      const answer = await fetch(place.dataset.later, { credentials: "same-origin", redirect: "manual" });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const part = fresh.querySelector("[data-part]");
      if (part) place.textContent = part.textContent;
    } catch { /* the link is still there */ }
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
    later(part);
  };

  localise(document);
  later(document);
  const typed = document.querySelector("[data-timezone]");
  if (typed) typed.value = Intl.DateTimeFormat().resolvedOptions().timeZone;

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
  const kept = `typed:${location.pathname}`;
  const memory = (() => { try { return localStorage; } catch { return null; } })(); // some forbid it
  const lost = memory?.getItem(kept);
  memory?.removeItem(kept);
  const form = document.querySelector("[data-preview]");
  if (form) {
    let timer, number = 0;
    const touched = new Set();
    const show = async () => {
      const mine = ++number;
      const body = new URLSearchParams(new FormData(form));
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
        if (shown.counting) { clearTimeout(timer); timer = setTimeout(show, EVERY_MS); }
      } catch { /* the next key tries again */ }
    };
    const changed = (event) => {
      if (event.target.name) touched.add(event.target.name);
      clearTimeout(timer);
      timer = setTimeout(show, 250);
    };
    // Another query has other fields: the page is asked for them.
    for (const select of form.querySelectorAll('select[name$=".query"]'))
      select.addEventListener("change", () => form.requestSubmit(select.parentElement.querySelector("button")));
    document.addEventListener("input", (event) => { if (event.target.form === form) changed(event); });

    // A form that was sent is kept in this browser until its page is seen again. If it was not saved, it is put back.
    form.addEventListener("submit", () => memory?.setItem(kept, JSON.stringify(typedNow())));
    const typedNow = () => [...new FormData(form)].filter(([name]) => name !== "csrf");
    const before = JSON.parse(lost || "[]");
    const version = before.find(([name]) => name === "version");
    if (version && version[1] === form.elements.version.value && lost !== JSON.stringify(typedNow())) {
      for (const field of form.elements) {
        const values = before.filter(([name]) => name === field.name).map(([, value]) => value);
        if (field.type === "checkbox") field.checked = values.includes(field.value);
        else if (values.length && field.type !== "hidden" && field.type !== "submit") field.value = values[0];
      }
      document.querySelector("[data-typed]").hidden = false;
      show();
    }
    if (form.querySelector(".spinner")) timer = setTimeout(show, EVERY_MS);
  }

  // A second click on the same button sends nothing.
  document.addEventListener("submit", (event) => {
    if (event.target.dataset.sent) return event.preventDefault();
    event.target.dataset.sent = "yes";
    setTimeout(() => delete event.target.dataset.sent, 5000);
  });
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
})();
