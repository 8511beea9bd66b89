// The texts of a request, one after the other, without loading the page. Without a script the button loads it.
(() => {
  "use strict";
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
})();
