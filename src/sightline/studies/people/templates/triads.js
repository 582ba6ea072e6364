(() => {
  "use strict";
  const $ = (id) => document.getElementById(id);
  const plan = JSON.parse($("plan").textContent);
  const pictures = JSON.parse($("pictures").textContent);
  const key = `sightline-triads-${plan.experiment}`;
  const screens = ["welcome", "resume", "between", "trial", "end"];
  const columns = ["trial", "participant", "target", "option_1", "option_2", "choice", "rt_ms", "side", "kind",
    "expected", "source_1", "source_2", "position", "experiment"];
  const practice = plan.trials.filter((trial) => trial.kind === "practice").length;
  let state = null; // {participant, order: [trial], left: [0 or 1: option 1 stands on the left], answers: [{choice, rt}]}
  let shown = null; // when the pictures of this trial came up; null while none can be answered

  // What is random is drawn once a participant, and kept.
  function random(below) {
    const limit = Math.floor(2 ** 32 / below) * below; // a remainder would favour the first values
    const value = new Uint32Array(1);
    do crypto.getRandomValues(value); while (value[0] >= limit);
    return value[0] % below;
  }
  function shuffle(values) {
    for (let i = values.length - 1; i > 0; i -= 1) {
      const j = random(i + 1);
      [values[i], values[j]] = [values[j], values[i]];
    }
    return values;
  }
  function sides(count) { // as often left as right; an odd one either way
    const half = Math.floor(count / 2), first = random(2);
    return shuffle(Array.from({ length: count }, (_, i) => (i < half ? 1 : i < 2 * half ? 0 : first)));
  }
  function drawn(participant) {
    const at = (kinds) => plan.trials.flatMap((trial, i) => (kinds.includes(trial.kind) ? [i] : []));
    const order = [...at(["practice"]), ...shuffle(at(["trial", "catch"]))];
    const left = order.map(() => 0);
    for (const kind of ["practice", "trial", "catch"]) {
      const places = order.flatMap((i, place) => (plan.trials[i].kind === kind ? [place] : []));
      sides(places.length).forEach((side, n) => { left[places[n]] = side; });
    }
    return { participant, order, left, answers: [] };
  }

  // The browser's memory; a page that has none says so.
  function keep() {
    try {
      localStorage.setItem(key, JSON.stringify(state));
    } catch {
      $("volatile").hidden = false;
    }
  }
  function kept() {
    try {
      const found = JSON.parse(localStorage.getItem(key));
      const whole = found && found.order.length === plan.trials.length && found.answers.length <= found.order.length;
      return whole ? found : null;
    } catch {
      return null;
    }
  }
  function forget() {
    try {
      localStorage.removeItem(key);
    } catch { /* nothing was kept */ }
    state = null;
  }

  function screen(name, focus) {
    for (const other of screens) $(other).hidden = other !== name;
    document.body.classList.toggle("asking", name === "trial");
    if (focus) focus.focus({ preventScroll: true });
    scrollTo(0, 0);
  }

  function welcome() {
    const count = plan.trials.length - practice;
    const first = practice ? ` after ${practice} to practise` : "";
    $("amount").textContent = `There ${count === 1 ? "is 1 question" : `are ${count} questions`}${first}.`;
    const asked = new URLSearchParams(location.search).get("participant") || "";
    $("participant").value = asked || `p-${Array.from({ length: 6 }, () => "abcdefghjkmnpqrstuvwxyz23456789"[random(31)]).join("")}`;
    screen("welcome", $("participant"));
  }
  $("start").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = $("participant").value.trim();
    const right = /^[A-Za-z0-9._-]{1,40}$/.test(name);
    $("wrong").hidden = right;
    if (!right) {
      $("wrong").textContent = "A name or code has letters, digits and . _ - only, and at least one of them.";
      $("participant").focus();
      return;
    }
    state = drawn(name);
    keep();
    ask();
  });

  const counted = () => Math.max(0, state.answers.length - practice);
  function resume() {
    const total = plan.trials.length - practice;
    $("resume-text").textContent = `${state.participant}: ${counted()} of ${total} questions are answered. Go on where you stopped?`;
    screen("resume", $("go-on"));
  }
  $("go-on").addEventListener("click", () => ask());
  $("afresh").addEventListener("click", () => {
    if (!confirm("All answers so far are deleted. Begin afresh?")) return;
    forget();
    welcome();
  });
  $("ready").addEventListener("click", () => show());

  function ask() {
    const at = state.answers.length;
    if (at >= state.order.length) return end();
    if (practice && at === practice) {
      const count = plan.trials.length - practice;
      $("between-count").textContent = count === 1 ? "question counts" : `${count} questions count`;
      screen("between", $("ready"));
      return undefined;
    }
    return show();
  }

  async function show() {
    const at = state.answers.length, trial = plan.trials[state.order[at]];
    const [target, first, second] = trial.images.map((i) => pictures[i]);
    const pair = state.left[at] ? [first, second] : [second, first];
    const images = [$("target"), $("left").firstElementChild, $("right").firstElementChild];
    const practising = at < practice;
    const [done, total] = practising ? [at, practice] : [at - practice, plan.trials.length - practice];
    shown = null;
    document.querySelector(".stage").classList.add("blank");
    $("count").textContent = `${practising ? "Practice" : "Question"} ${done + 1} of ${total}`;
    $("bar").max = total;
    $("bar").value = done;
    screen("trial");
    document.activeElement.blur(); // no option has the focus first: neither is favoured
    [target, ...pair].forEach((uri, i) => { images[i].src = uri; });
    await Promise.all(images.map((image) => image.decode().catch(() => undefined)));
    if (state === null || at !== state.answers.length) return;
    setTimeout(() => {
      document.querySelector(".stage").classList.remove("blank");
      requestAnimationFrame(() => { shown = performance.now(); });
    }, plan.gap);
  }

  function answer(onLeft) {
    if (shown === null) return;
    const rt = Math.round((performance.now() - shown) * 10) / 10;
    shown = null;
    const isFirst = onLeft === Boolean(state.left[state.answers.length]);
    state.answers.push({ choice: isFirst ? 1 : 2, rt });
    keep();
    ask();
  }
  $("left").addEventListener("click", () => answer(true));
  $("right").addEventListener("click", () => answer(false));
  addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.altKey || event.metaKey || $("trial").hidden) return;
    const pressed = event.key.toLowerCase();
    if (pressed === "f" || pressed === "j") {
      event.preventDefault();
      answer(pressed === "f");
    }
  });

  // The table of answers.
  const cell = (value) => (/[",\r\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  function table() {
    const lines = state.answers.map(({ choice, rt }, at) => {
      const trial = plan.trials[state.order[at]];
      const [target, first, second] = trial.images.map((i) => plan.names[i]);
      return [trial.trial, state.participant, target, first, second, choice, rt, state.left[at] ? "left" : "right",
        trial.kind, trial.expected ?? "", ...trial.sources, at + 1, plan.experiment];
    });
    return `${[columns, ...lines].map((line) => line.map(cell).join(",")).join("\n")}\n`;
  }
  function save() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
    link.download = `triads-${plan.experiment}-${state.participant}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
    return `Saved as ${link.download}.`;
  }
  function end() {
    $("text").value = table();
    screen("end", $("save"));
  }
  $("save").addEventListener("click", () => { $("saved").textContent = save(); });
  $("save-part").addEventListener("click", () => { $("part-saved").textContent = save(); });
  $("next").addEventListener("click", () => {
    if ($("saved").textContent || confirm("The answers were not saved yet, and are deleted. Go on?")) {
      $("saved").textContent = "";
      forget();
      welcome();
    }
  });

  state = kept();
  if (state === null) welcome();
  else if (state.answers.length >= state.order.length) end();
  else resume();
})();
