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
  // Two places of one page may be parts of one answer: it is asked for once.
  const later = (root) => {
    const answers = new Map();
    const ask = async (address) => {
      const answer = await fetch(address, { credentials: "same-origin", redirect: "manual" });
      return answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
    };
    root.querySelectorAll("[data-later]").forEach(async (place) => {
      const { later: address, takes = "left-out" } = place.dataset;
      try {
        if (!answers.has(address)) answers.set(address, ask(address));
        const part = (await answers.get(address))?.querySelector(`[data-part="${takes}"]`);
        if (part) place.textContent = part.textContent;
      } catch { /* the link is still there */ }
    });
  };

  // New HTML goes only where it differs, so that nothing flickers and no focus is lost.
  const seen = new Map();
  const put = (part, html) => {
    if (!part || seen.get(part) === html) return;
    const first = !seen.has(part);
    seen.set(part, html);
    if (first && part.dataset.fresh === html) return;
    const open = [...part.querySelectorAll("details")].map((one) => one.open);
    part.innerHTML = html;
    part.querySelectorAll("details").forEach((one, n) => { one.open ||= open[n] ?? false; });
    localise(part);
    later(part);
  };

  localise(document);
  later(document);

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
        // The head is outside of what is asked for again: it says what the run says.
        const head = document.querySelector("[data-state]"), badge = fresh.querySelector('[data-part="run"] .badge');
        if (head && badge) put(head, badge.outerHTML);
        live = fresh.querySelector("[data-live]") !== null;
      } catch { /* the network comes back */ }
      if (live) setTimeout(again, EVERY_MS);
    };
    if (poll.querySelector("[data-live]")) setTimeout(again, EVERY_MS);
  }

  window.pages = { localise, later, put };  // for the composer

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
