// The composer: everything works without it, by posting the form. With it the same posts are sent by fetch, and the page
// that the server answers with takes the place of this one. So there is one way to render, and nothing is drawn here.
(() => {
  "use strict";
  const EVERY_MS = 2000, TYPING_MS = 250, SAVING_MS = 1500, LATE_MS = 5000;
  const { localise, later, put } = window.pages;
  const $ = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const form = () => $("[data-preview]");
  const say = (words) => { const said = $("[data-saved]"); if (said) said.textContent = words; };
  const asked = { credentials: "same-origin", redirect: "follow" };
  const memory = (() => { try { return localStorage; } catch { return null; } })(); // some forbid it
  const kept = `typed:${location.pathname}`;
  const typedNow = () => [...new FormData(form())].filter(([name]) => !/^(csrf$|show_|sample$)/.test(name));

  // ---- tabs: languages everywhere, variants where the page is narrow. Without a script they are links to all panels.
  const open = { language: "main", column: "all" };
  const isNarrow = matchMedia("(max-width: 700px)");
  const drawTabs = () => {
    for (const bar of all("[data-tabs]")) {
      const kind = bar.dataset.tabs, tabs = all("[data-tab]", bar);
      if (!tabs.some((tab) => tab.dataset.tab === open[kind])) open[kind] = tabs[0].dataset.tab;
      bar.setAttribute("role", "tablist");
      for (const tab of tabs) {
        const chosen = tab.dataset.tab === open[kind];
        tab.setAttribute("role", "tab");
        tab.setAttribute("aria-selected", chosen);
        tab.tabIndex = chosen ? 0 : -1;
      }
    }
    for (const panel of all("[data-panel]")) panel.hidden = panel.dataset.panel !== open.language;
    for (const column of all("[data-column]")) column.classList.toggle("off", column.dataset.column !== open.column);
  };
  const isSeen = (element) => element.getClientRects().length > 0;
  const reveal = (element) => {
    const panel = element.closest("[data-panel]"), column = element.closest("[data-column]");
    if (panel) open.language = panel.dataset.panel;
    if (column) open.column = column.dataset.column;
    for (let at = element.closest("details"); at; at = at.parentElement.closest("details")) at.open = true;
    drawTabs();
  };
  const goTo = (id) => {
    const target = document.getElementById(id);
    if (!target) return;
    reveal(target);
    target.focus();
    target.scrollIntoView({ block: "center" });
  };
  document.addEventListener("click", (event) => {
    const tab = event.target.closest("[data-tab]");
    if (tab) {
      event.preventDefault();
      open[tab.parentElement.dataset.tabs] = tab.dataset.tab;
      drawTabs();
      follow($(`[data-panel="${open.language}"] [data-column="${open.column}"] [name$=title]`));
    }
    const jump = event.target.closest("[data-jump]");
    if (jump) { event.preventDefault(); goTo(jump.dataset.jump); }
  });
  document.addEventListener("keydown", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab && ["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) {
      const tabs = all("[data-tab]", tab.parentElement), at = tabs.indexOf(tab);
      const next = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: -1 }[event.key];
      const to = tabs.at(next % tabs.length);
      to.click();
      to.focus();
      event.preventDefault();
    }
    // Tab goes on into the next language or variant, though it is not open yet: nobody must leave the keyboard for it.
    if (event.key === "Tab" && event.target.closest("[data-panel]")) {
      const isFolded = (one) => one.closest("details:not([open])") && one.tagName !== "SUMMARY";
      const fields = all("[data-panel] :is(input, textarea, summary, button)").filter((one) => !isFolded(one));
      const next = fields[fields.indexOf(event.target) + (event.shiftKey ? -1 : 1)];
      if (fields.includes(event.target) && next && !isSeen(next)) { event.preventDefault(); reveal(next); next.focus(); }
    }
    if (event.key === "Enter" && event.target.dataset.adds) {
      event.preventDefault();
      form().requestSubmit($(`button[value="${event.target.dataset.adds}"]`));
    }
  });
  isNarrow.addEventListener("change", drawTabs);

  // ---- the phone follows the field that has the focus
  const PLACE = /^(?:variants\.(\d+)\.)?(?:languages\.(\d+)\.)?(title|body|image_url|deep_link)$/;
  const follow = (field) => {
    const found = field && PLACE.exec(field.name);
    if (!found) return;
    const choose = (name, value) => {
      const select = form().elements[name];
      if (select && value !== undefined && select.value !== value) { select.value = value; return true; }
      return false;
    };
    const moved = [choose("show_variant", found[1]), choose("show_language", found[2] ?? "main")];
    if (moved.includes(true)) soon();
  };
  let lastText = null;
  document.addEventListener("focusin", (event) => {
    if (!PLACE.test(event.target.name || "")) return;
    lastText = event.target;
    follow(lastText);
  });

  // ---- attributes: put in at the cursor, their default selected, so that the next key replaces it
  const insert = (field, text) => {
    field.focus();
    const at = field.selectionStart ?? field.value.length;
    field.setRangeText(text, at, field.selectionEnd ?? at, "end");
    const quoted = /'(.*)'/.exec(text);
    if (quoted) field.setSelectionRange(at + quoted.index + 1, at + quoted.index + 1 + quoted[1].length);
    field.dispatchEvent(new Event("input", { bubbles: true }));
  };
  document.addEventListener("click", (event) => {
    const chip = event.target.closest("[data-insert]"), slip = event.target.closest("[data-replace]");
    if (chip) {
      const field = lastText?.isConnected ? lastText : $("#title");
      reveal(field);
      insert(field, chip.dataset.insert);
    }
    if (slip) {
      const name = new RegExp(`\\b${slip.dataset.replace}\\b`, "g");
      for (const field of all("[data-panel] :is(input, textarea)")) {
        const better = field.value.replace(/\{\{.*?\}\}|\{%.*?%\}/g, (one) => one.replace(name, slip.dataset.with));
        if (better === field.value) continue;
        field.value = better;
        field.dispatchEvent(new Event("input", { bubbles: true }));
      }
    }
  });

  // ---- live while typing: one question at a time, the last one wins
  let timer, isAsking = false, isStale = false, isLate = false, failures = 0, stop;
  const touched = new Set();
  const show = async () => {
    clearTimeout(timer);
    if (isAsking) { isStale = true; if (isLate) stop.abort(); return; }
    isAsking = true;
    isLate = false;
    stop = new AbortController();
    // An answer that never comes must not keep the phone at an older text: it is given up for a newer question.
    const waiting = setTimeout(() => { isLate = true; if (isStale) stop.abort(); }, LATE_MS);
    const here = form();
    let isAnswered = false;
    try {
      const answer = await fetch(here.dataset.preview, { ...asked, signal: stop.signal, method: "POST", body: new URLSearchParams(new FormData(here)) });
      if (answer.ok && here === form()) {
        const shown = await answer.json();
        draw(shown);
        if (shown.live) timer = setTimeout(show, EVERY_MS);
      }
      isAnswered = answer.ok;
    } catch { /* the network is away, or the session has ended */ }
    clearTimeout(waiting);
    isAsking = false;
    failures = isAnswered ? 0 : failures + 1;
    if (failures && failures < 4) timer = setTimeout(show, EVERY_MS * failures); // then the next key tries again
    if (isStale) { isStale = false; soon(); }
  };
  const soon = () => { clearTimeout(timer); timer = setTimeout(show, TYPING_MS); };
  const choices = () => [...new FormData(form())].filter(([name]) => /^(show_|sample$)/.test(name));
  const draw = (shown) => {
    const chosen = choices();
    for (const [name, html] of Object.entries(shown.parts)) {
      const part = $(`[data-part="${name}"]`), focused = document.activeElement;
      if (!part) continue;
      const id = part.contains(focused) && focused.id, wasOpen = $("details", part)?.open;
      put(part, html);
      if (wasOpen && $("details", part)) $("details", part).open = true;
      if (id && document.activeElement.id !== id) document.getElementById(id)?.focus();
    }
    // What was chosen since the question was asked is newer than the answer, and is asked for next.
    for (const [name, value] of chosen) {
      const field = form().elements[name], answered = field?.value;
      if (!field || answered === value) continue;
      field.value = value;
      // It is not offered any more. A list without a choice has an empty value, which is that of "nobody yet", too.
      if (field.value !== value || field.selectedIndex === -1) field.value = answered;
    }
    if (!shown.live) $("main > .notice.good")?.remove(); // it said that something is being counted
    offers();
    for (const fault of all("[data-fault]")) {
      const name = fault.dataset.fault, field = form().elements[name];
      if (!touched.has(name)) continue;
      fault.textContent = shown.faults[name] || "";
      if (!field?.setAttribute) continue;
      field.toggleAttribute("aria-invalid", name in shown.faults);
      const says = (field.getAttribute("aria-describedby") || "").split(" ").filter((id) => id && id !== fault.id);
      if (name in shown.faults) says.unshift(fault.id);
      says.length ? field.setAttribute("aria-describedby", says.join(" ")) : field.removeAttribute("aria-describedby");
    }
  };
  const offers = () => all("[data-replace]").forEach((button) => { button.hidden = false; });

  // ---- a draft saves itself: soon after the last key, and when the page is left
  let saveTimer, saving = null, isDirty = false;
  const save = (keepalive = false) => {
    clearTimeout(saveTimer);
    // During a step this form's version is about to be an older one: what is typed meanwhile is put back after it, and saved.
    if (saving || !isDirty || !form() || form().getAttribute("aria-busy")) return;
    isDirty = false;
    let isOld = false;
    const body = new URLSearchParams(new FormData(form()));
    body.set("do", "autosave");
    saving = fetch(form().action, { ...asked, redirect: "manual", method: "POST", body, keepalive: keepalive === true })
      .then(async (answer) => {
        const saved = answer.ok ? await answer.json() : { refused: `Not saved: ${answer.status === 413 ? "the texts are too long" : "you are signed out, or the network is away"}.` };
        isOld = isDirty; // more was typed meanwhile: it is saved next, and said then
        if ("version" in saved) form().elements.version.value = saved.version;
        else isDirty = true; // kept by the browser when the page is left
        if (!isOld) say(saved.refused || `Saved ${new Intl.DateTimeFormat(undefined, { timeStyle: "short" }).format(new Date())}`);
      })
      .catch(() => { isDirty = true; say("Not saved yet: the network is away."); })
      .finally(() => {
        saving = null;
        if (isOld) { clearTimeout(saveTimer); saveTimer = setTimeout(save, SAVING_MS); }
      });
  };
  addEventListener("pagehide", () => {
    // Whoever comes back at once may be faster than the saving: the browser keeps it, too.
    if (form() && (isDirty || saving)) memory?.setItem(kept, JSON.stringify(typedNow()));
    save(true);
  });
  document.addEventListener("visibilitychange", () => { if (document.hidden) save(true); });
  document.addEventListener("input", (event) => {
    const { target } = event;
    if (!target.form || target.form !== form()) return;
    if (target.name) touched.add(target.name);
    soon();
    if (/^(show_|sample$|picker_|more_)/.test(target.name)) return; // no part of the draft
    clearTimeout(saveTimer);
    saveTimer = setTimeout(save, SAVING_MS);
    isDirty = true;
    say("");
  });

  // ---- steps: the form's own posts, without loading the page
  const ticked = () => all("[type=checkbox], [type=radio]", form()).map((box) => [box.name, box.value, box.checked]);
  const putBack = ({ fields, boxes }) => {
    for (const [name, value] of fields) {
      const field = form().elements[name];
      if (field?.type && !/hidden|submit|checkbox|radio/.test(field.type)) field.value = value;
    }
    for (const [name, value, is] of boxes) {
      const box = all("[type=checkbox], [type=radio]", form()).find((one) => one.name === name && one.value === value);
      if (box) box.checked = is;
    }
  };
  const answered = (html, sent, isSaved) => {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    if (!$("[data-preview]", fresh)) return false;
    const isNew = (now, before) => now.filter((one) => !before.some((other) => one.every((part, n) => part === other[n])));
    const meanwhile = { fields: isNew(typedNow(), sent.fields), boxes: isNew(ticked(), sent.boxes) };
    const isTyped = meanwhile.fields.length + meanwhile.boxes.length > 0;
    const focus = document.activeElement?.id, folded = all("details[open] > summary").map((one) => one.textContent);
    const before = scrollY;
    $("main").replaceChildren(...$("main", fresh).childNodes);
    document.title = fresh.title;
    for (const details of all("main details")) if (folded.includes($("summary", details)?.textContent)) details.open = true;
    // What was typed or chosen while the answer was on its way is newer than the answer. After a removal the fields have
    // other numbers, and a text would come back in another variant.
    if (!doing.startsWith("remove")) putBack(meanwhile);
    localise($("main"));
    later($("main"));
    begin();
    if (!isSaved || (isTyped && !doing.startsWith("remove"))) { isDirty = true; saveTimer = setTimeout(save, SAVING_MS); }
    const first = $("[autofocus]") || document.getElementById(focus);
    scrollTo(0, before);
    if (first) { reveal(first); first.focus({ preventScroll: !first.matches("[autofocus]") }); }
    return true;
  };
  let doing = "", next = "";
  document.addEventListener("submit", async (event) => {
    const { target, submitter } = event;
    if (target !== form() || target.dataset.plain) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (target.getAttribute("aria-busy")) {
      // A second click on the same button sends nothing; another button waits for the step that is under way.
      next = submitter?.value === doing ? "" : submitter?.value || "";
      return;
    }
    doing = submitter?.value || "";
    clearTimeout(saveTimer);
    target.setAttribute("aria-busy", "true");
    // What is being saved has another version in a moment: this form would be taken for an older one.
    await saving;
    isDirty = false;
    const body = new URLSearchParams(new FormData(target)), sent = { fields: typedNow(), boxes: ticked() };
    if (submitter?.name) body.set(submitter.name, submitter.value);
    memory?.setItem(kept, JSON.stringify(sent.fields));
    try {
      const answer = await fetch(target.action, { ...asked, method: "POST", body });
      const html = await answer.text();
      if (answered(html, sent, answer.ok)) {
        memory?.removeItem(kept);
        const button = next && $(`[form=request-form][value="${next}"], #request-form button[value="${next}"]`);
        next = "";
        if (button) form().requestSubmit(button);
        return;
      }
      // It is another page: in review, or sign in.
      if (answer.ok) { location.assign(answer.url); return; }
    } catch { /* as without a script: the browser says what is wrong, and what was typed is kept */ }
    target.dataset.plain = "yes";
    target.requestSubmit(submitter);
  }, true);

  // ---- files: folders, pages and words. What is ticked moves up to the chosen ones.
  const browse = async (folder, page) => {
    const words = $("#picker-words").value, query = new URLSearchParams({ folder, page, q: words });
    for (const box of all(".chosen input:checked")) query.append("chosen", box.value);
    const picker = $("[data-files]");
    const answer = await fetch(`${picker.dataset.files}?${query}`, { ...asked, redirect: "manual" });
    if (answer.ok) { picker.innerHTML = await answer.text(); localise(picker); $("#picker-words").focus(); }
  };
  const place = (button) => (button.value.slice("browse:".length) + "|0").split("|");
  document.addEventListener("click", (event) => {
    if (!event.target.matches('.picker button[value^="browse:"]')) return;
    event.preventDefault();
    browse(...place(event.target));
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.target.id !== "picker-words") return;
    event.preventDefault();
    browse(place($(".picker [data-search]"))[0], 0);
  });
  document.addEventListener("change", (event) => {
    const { target } = event;
    if (target.name === "audience" && target.closest(".picker")) {
      const at = target.closest("li"), chosen = $(".chosen"), number = `part-${chosen.children.length + 1}`;
      target.id = number;
      $("label", at).htmlFor = number;
      chosen.append(at);
      target.focus();
    }
    // Another query has other fields: the page is asked for them.
    if (target.matches('select:is([name$=".query"],[name$=".schedule"])')) form().requestSubmit($("button", target.parentElement));
  });

  // ---- once for each page
  const begin = () => {
    drawTabs();
    offers();
    const zone = $("[data-timezone]"); // only of a draft that was never saved
    if (zone) zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if ($("[data-preview] .spinner")) { clearTimeout(timer); timer = setTimeout(show, EVERY_MS); }
  };
  if (!form()) return;
  begin();
  // Whoever was quicker than this script has typed already, and no event comes for it.
  const typed = document.activeElement;
  if (typed?.form === form() && "defaultValue" in typed && typed.value !== typed.defaultValue) typed.dispatchEvent(new Event("input", { bubbles: true }));
  const first = $("[autofocus]");
  if (first) { reveal(first); first.focus(); }
  // A form that was sent is kept in this browser until its page is seen again. If it was not saved, it is put back.
  const lost = memory?.getItem(kept);
  memory?.removeItem(kept);
  const before = JSON.parse(lost || "[]");
  const version = before.find(([name]) => name === "version");
  if (version && version[1] === form().elements.version.value && lost !== JSON.stringify(typedNow())) {
    for (const field of form().elements) {
      const values = before.filter(([name]) => name === field.name).map(([, value]) => value);
      if (["checkbox", "radio"].includes(field.type)) field.checked = values.includes(field.value);
      else if (values.length && field.type !== "hidden" && field.type !== "submit") field.value = values[0];
    }
    $("[data-typed]").hidden = false;
    isDirty = true;
    saveTimer = setTimeout(save, SAVING_MS);
    show();
  }
})();
