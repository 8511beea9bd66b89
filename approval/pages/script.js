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

  // The next text of a request comes without loading the page; a finger may sweep it away.
  const next = async (form) => {
    try {
      const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), credentials: "same-origin" });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const parts = ["text", "unseen", "unseen-words"].map((name) => [document, fresh].map((page) => page.querySelector(`[data-part="${name}"]`)));
      if (!answer.ok || !parts[0][1]) return location.reload();
      const had = document.activeElement?.closest("[data-texts]");
      for (const [here, there] of parts) if (here && there) here.innerHTML = there.innerHTML;
      const shown = document.querySelector(".decide [name=text]");
      if (shown) shown.value = fresh.querySelector(".decide [name=text]")?.value ?? shown.value;
      if (had) document.querySelector("[data-texts] button")?.focus();
    } catch { form.submit(); }
  };
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-texts]")) return;
    event.preventDefault();
    next(event.target);
  });
  let from = null;
  const said = document.querySelector(".said");
  said?.addEventListener("touchstart", (event) => { from = event.touches[0]; }, { passive: true });
  said?.addEventListener("touchend", (event) => {
    const to = event.changedTouches[0], form = said.querySelector("[data-texts]");
    if (form && from && from.clientX - to.clientX > 50 && Math.abs(from.clientY - to.clientY) < 40) next(form);
  });

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
      clearTimeout(saveTimer);
      saveTimer = setTimeout(save, 1500);
      isDirty = true;
    };

    // A draft saves itself: soon after the last key, and when the page is left.
    let saveTimer, saving = null, isDirty = false;
    const said = document.querySelector("[data-saved]");
    const save = (keepalive = false) => {
      clearTimeout(saveTimer);
      if (saving || !isDirty) return;
      isDirty = false;
      const body = new URLSearchParams(new FormData(form));
      body.set("do", "autosave");
      saving = fetch(form.action, { method: "POST", body, credentials: "same-origin", redirect: "manual", keepalive: keepalive === true })
        .then(async (answer) => {
          const saved = answer.ok ? await answer.json() : { refused: "Not saved: you are signed out, or the network is away." };
          if ("version" in saved) form.elements.version.value = saved.version;
          said.textContent = saved.refused || `Saved ${new Intl.DateTimeFormat(undefined, { timeStyle: "short" }).format(new Date())}`;
        })
        .catch(() => { isDirty = true; said.textContent = "Not saved yet: the network is away."; })
        .finally(() => { saving = null; });
    };
    addEventListener("pagehide", () => save(true));
    document.addEventListener("visibilitychange", () => { if (document.hidden) save(true); });
    // Files: folders, pages and words without loading the page. What is ticked moves up to the chosen ones.
    const picker = form.querySelector("[data-files]"), chosen = form.querySelector(".chosen");
    const browse = async (folder, page) => {
      const words = document.getElementById("picker-words").value;
      const asked = new URLSearchParams({ folder, page, q: words });
      for (const box of chosen.querySelectorAll("input:checked")) asked.append("chosen", box.value);
      const answer = await fetch(`${picker.dataset.files}?${asked}`, { credentials: "same-origin", redirect: "manual" });
      if (answer.ok) { picker.innerHTML = await answer.text(); localise(picker); }
    };
    const place = (button) => (button.value.slice("browse:".length) + "|0").split("|");
    picker.addEventListener("click", (event) => {
      if (!event.target.matches('button[value^="browse:"]')) return;
      event.preventDefault();
      const [folder, page] = place(event.target);
      browse(folder, page).then(() => document.getElementById("picker-words").focus());
    });
    picker.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.target.id !== "picker-words") return;
      event.preventDefault();
      const [folder] = place(picker.querySelector("strong + button"));
      browse(folder, 0);
    });
    picker.addEventListener("change", (event) => {
      if (event.target.name !== "audience") return;
      const at = event.target.closest("li"), number = `part-${chosen.children.length + 1}`;
      event.target.id = number;
      at.querySelector("label").htmlFor = number;
      chosen.append(at);
      event.target.focus();
    });

    // Another query has other fields: the page is asked for them.
    for (const select of form.querySelectorAll('select[name$=".query"]'))
      select.addEventListener("change", () => form.requestSubmit(select.parentElement.querySelector("button")));
    document.addEventListener("input", (event) => { if (event.target.form === form) changed(event); });

    // A form that was sent is kept in this browser until its page is seen again. If it was not saved, it is put back.
    form.addEventListener("submit", (event) => {
      clearTimeout(saveTimer);
      isDirty = false;
      // What is being saved has another version in a moment: this form would be taken for an older one.
      if (saving) {
        event.preventDefault();
        saving.finally(() => form.requestSubmit(event.submitter));
        return;
      }
      memory?.setItem(kept, JSON.stringify(typedNow()));
    });
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

  // Dark or light: as the system says, until a person says otherwise.
  const themes = document.querySelector("[data-theme-switch]");
  if (themes) {
    themes.hidden = false;
    themes.addEventListener("click", () => {
      const root = document.documentElement;
      const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = isDark ? "light" : "dark";
      document.cookie = `theme=${root.dataset.theme}; path=/; max-age=31536000; samesite=lax${location.protocol === "https:" ? "; secure" : ""}`;
    });
  }

  // A second click on the same button sends nothing.
  document.addEventListener("submit", (event) => {
    if (event.defaultPrevented) return;
    if (event.target.dataset.sent) return event.preventDefault();
    event.target.dataset.sent = "yes";
    setTimeout(() => delete event.target.dataset.sent, 5000);
  });
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
})();
