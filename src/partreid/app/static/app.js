// What was asked, and asking again when anything of it changes.
import { Problem, get, itemImage, keptImage, send, upload } from "./api.js";
import { $, brief, make, image, swatch } from "./dom.js";
import { compare, showResults } from "./results.js";
import { Stage } from "./stage.js";

const PAUSE = 150; // milliseconds of quiet before a change is searched for
const GONE = 410;

const state = { about: null, people: [], active: -1, ranking: null, asked: null, open: -1 };
const stage = new Stage(() => searchSoon());

const say = (words) => { $("status").textContent = words; };

// "problem" is of a search, "refused" of images that were not taken; each stays until it is tried again.
function complain(words, where = "problem") {
  $(where).textContent = words;
  $(where).hidden = !words;
}

// ---- who -------------------------------------------------------------------------------------------------------

async function addFiles(files) {
  const images = [...files];
  if (!images.length) return;
  if (!state.about) return complain("The page is not ready yet. Try again in a moment.", "refused");
  const refused = [];
  for (const file of images) {
    const name = file.name || "pasted image";
    const words = await addFile(file, name);
    if (words) refused.push(`${name}: ${words}`);
  }
  complain(refused.join(" "), "refused");
  if (state.people.length) searchSoon();
  else say(missing());
}

// Send an image; why it was not taken, "" if it was.
async function addFile(file, name) {
  const { upload_bytes: limit, most_images: most } = state.about;
  if (state.people.length >= most) return `At most ${most} images of one person count together.`;
  if (file.size > limit) return `The file is larger than ${Math.floor(limit / 2 ** 20)} MiB. Make the image smaller.`;
  const person = { name, file, token: null, box: null, item: null };
  try {
    await sendImage(person);
  } catch (error) {
    return error.message;
  }
  state.people.push(person);
  select(state.people.length - 1);
  return "";
}

async function sendImage(person) {
  say(`Sending ${person.name} …`);
  const kept = await upload(person.file);
  Object.assign(person, { token: kept.image, width: kept.width, height: kept.height });
}

function select(index) {
  state.active = Math.min(index, state.people.length - 1);
  const person = state.people[state.active];
  stage.show(person, person?.token ? keptImage(person.token) : "");
  $("people").replaceChildren(...state.people.map((one, i) => make("li", {},
    make("button", { type: "button", className: "thumb", onclick: () => select(i), "aria-pressed": i === state.active ? "true" : "false",
      "aria-label": `Show ${one.name}` }, image(one.item === null ? keptImage(one.token) : itemImage(one.item), "")),
    make("span", { className: "name" }, one.name),
    make("button", { type: "button", className: "remove", onclick: () => remove(i), "aria-label": `Take away ${one.name}` }, "✕"))));
}

function remove(index) {
  state.people.splice(index, 1);
  select(state.active >= index ? Math.max(state.active - 1, 0) : state.active);
  $("choose").focus();
  searchSoon();
}

// ---- how -------------------------------------------------------------------------------------------------------

const checked = (name) => [...document.querySelectorAll(`input[name=${name}]:checked`)].map((input) => input.value);

function seconds(id) {
  const text = $(id).value;
  return text ? new Date(text).getTime() / 1000 : null;
}

// A share that was written in per cent; null where nothing was.
const share = (id) => ($(id).value ? Number($(id).value) / 100 : null);

function question() {
  const parts = checked("part");
  const cameras = checked("camera"), tracks = $("tracks").value.split(",").map((name) => name.trim()).filter(Boolean);
  const where = { not_ids: state.people.filter((one) => one.item !== null).map((one) => one.item) };
  if (cameras.length && cameras.length < state.about.cameras.length) where.cameras = cameras;
  if (seconds("since") !== null) where.since = seconds("since");
  if (seconds("until") !== null) where.until = seconds("until");
  if (tracks.length) where.not_metadata = { track: tracks };
  return {
    query: state.people.map((one) => (one.item === null ? { image: one.token, box: one.box } : { item: one.item })),
    parts: parts.length === state.about.slots.length ? null : parts,
    normalize: $("normalize").checked === state.about.normalize ? null : $("normalize").checked,
    k: Math.min(Math.max(Math.round(Number($("count").value)) || 24, 1), state.about.most_results),
    where,
    max_false: share("max-false"),
    prior: share("prior"),
  };
}

function missing() {
  if (!state.people.length) return "Choose an image of the person to look for.";
  if (!checked("part").length) return "Choose at least one part to compare.";
  if (state.about.cameras.length && !checked("camera").length) return "Choose at least one camera.";
  const [since, until] = [seconds("since"), seconds("until")];
  return since !== null && until !== null && since >= until ? "The time to search ends before it begins." : "";
}

// ---- searching -------------------------------------------------------------------------------------------------

let soon = 0;

function searchSoon() {
  state.asked?.abort(); // an older answer is of no use any more
  clearTimeout(soon);
  soon = setTimeout(search, PAUSE);
}

async function search() {
  if (!state.about) return;
  complain("");
  if (missing()) {
    state.ranking = null;
    showNamed(null);
    showResults({ results: [], notes: [] }, [], () => {});
    showVisibility(null);
    say(missing());
    return;
  }
  const control = new AbortController();
  state.asked = control;
  document.body.classList.add("working");
  try {
    await ask(control.signal);
  } catch (error) {
    if (error.name === "AbortError") return;
    say("");
    complain(error.message);
  } finally {
    if (state.asked === control) document.body.classList.remove("working");
  }
}

async function ask(signal, again = false) {
  try {
    say("Looking for the parts …");
    const look = await send("api/v1/look", { query: question().query }, signal);
    showVisibility(look.visibility);
    say("Searching …");
    state.ranking = await send("api/v1/search", question(), signal);
  } catch (error) {
    // The server keeps images for a while only: those it lost are sent once more.
    const files = state.people.filter((one) => one.file);
    if (error.status !== GONE || again || !files.length) throw error;
    for (const one of files) await sendImage(one);
    select(state.active);
    await ask(signal, true);
    return;
  }
  const { results, searched } = state.ranking;
  showNamed(state.ranking);
  showResults(state.ranking, state.about.slots, openResult);
  say(results.length ? `The nearest ${results.length} of ${searched} searched.` : `Nothing found among ${searched} searched.`);
}

// Whom the rule names, or nobody, and what that promises.
function showNamed(ranking) {
  $("named").hidden = !ranking?.statement;
  if ($("named").hidden) return;
  const name = ranking.named === null ? "Nobody." : `This is ${brief(ranking.named)}.`;
  $("named").replaceChildren(make("b", {}, name), " ", make("span", {}, ranking.statement));
  $("named").classList.toggle("problem", !ranking.fits);
}

function showVisibility(visibility) {
  for (const label of document.querySelectorAll("#part-checks label")) {
    const value = visibility?.[label.dataset.slot];
    const mark = label.querySelector(".mark");
    mark.textContent = value === undefined ? "" : value > 0 ? "visible" : "not visible";
    mark.className = `mark ${value > 0 ? "seen" : "unseen"}`;
  }
}

// ---- one result ------------------------------------------------------------------------------------------------

function openResult(index) {
  const found = state.ranking?.results[index];
  if (!found) return;
  state.open = index;
  $("before").disabled = index === 0;
  $("after").disabled = index === state.ranking.results.length - 1;
  compare(question(), found, { ...state.about, follow, leaveOut });
}

function follow(found, elsewhere) {
  $("compare").close();
  state.people = [{ name: brief(found.id), item: found.id, token: null, file: null, box: null }];
  if (elsewhere) for (const input of document.querySelectorAll("input[name=camera]")) input.checked = input.value !== found.camera;
  if (found.track !== null) addTrack(found.track);
  select(0);
  $("found").focus();
  searchSoon();
}

function addTrack(track) {
  const tracks = $("tracks").value.split(",").map((name) => name.trim()).filter(Boolean);
  if (!tracks.includes(track)) $("tracks").value = [...tracks, track].join(", ");
}

function leaveOut(track) {
  addTrack(track);
  $("compare").close();
  searchSoon();
}

$("compare").addEventListener("close", () => $("results").children[state.open]?.firstChild.focus());
$("compare").addEventListener("click", (event) => { if (event.target === $("compare")) $("compare").close(); });
$("compare").addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "ArrowLeft") openResult(state.open - 1);
  if (event.key === "ArrowRight") openResult(state.open + 1);
});
$("before").addEventListener("click", () => openResult(state.open - 1));
$("after").addEventListener("click", () => openResult(state.open + 1));
$("close").addEventListener("click", () => $("compare").close());

// ---- beginning -------------------------------------------------------------------------------------------------

function check(name, value, ...content) {
  const input = make("input", { type: "checkbox", name, value, checked: true });
  return make("label", { className: "check" }, input, ...content);
}

function showAbout(about) {
  const size = about.items === 1 ? "1 item" : `${about.items.toLocaleString()} items`;
  $("about").textContent = `Gallery “${about.gallery}” · ${size} · ` + (about.calibration === null
    ? "no calibration, so distances without probabilities" : `probabilities fitted on ${about.calibration}`);
  $("calibration-problem").textContent = about.calibration_problem;
  $("calibration-problem").hidden = !about.calibration_problem;
  $("compared").textContent = about.compared;
  $("rule").textContent = about.rule === null ? "There is no rule for it (partreid calibrate --rule)." : `The rule rests on ${about.rule}. It holds for all parts.`;
  for (const id of ["max-false", "prior"]) $(id).disabled = id === "max-false" ? about.rule === null : about.calibration === null;
  $("part-checks").replaceChildren(...about.slots.map((slot) => {
    const label = check("part", slot.name, swatch(slot.color), slot.label, make("span", { className: "mark" }));
    label.dataset.slot = slot.name;
    return label;
  }));
  $("cameras").replaceChildren(...about.cameras.map((camera) => check("camera", camera, `camera ${camera}`)));
  $("camera-links").hidden = about.cameras.length < 2;
  $("cameras-note").textContent = about.more_cameras ? "There are more cameras than can be listed here; all checked means all."
    : about.cameras.length ? "" : "No camera is known of these items.";
  $("zone").textContent = `Times are in your zone, ${Intl.DateTimeFormat().resolvedOptions().timeZone}.`;
  $("count").max = about.most_results;
  $("normalize").checked = about.normalize;
}

function setAll(name, on) {
  for (const input of document.querySelectorAll(`input[name=${name}]`)) input.checked = on;
  searchSoon();
}

function reset() {
  $("ask").reset();
  Object.assign(state, { people: [], ranking: null });
  complain("", "refused");
  showAbout(state.about);
  select(0);
  searchSoon();
  $("choose").focus();
}

$("ask").addEventListener("submit", (event) => event.preventDefault());
$("ask").addEventListener("input", (event) => { if (event.target !== $("file")) searchSoon(); });
$("choose").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => { addFiles($("file").files); $("file").value = ""; });
$("all-parts").addEventListener("click", () => setAll("part", true));
$("no-parts").addEventListener("click", () => setAll("part", false));
$("all-cameras").addEventListener("click", () => setAll("camera", true));
$("no-cameras").addEventListener("click", () => setAll("camera", false));
$("again").addEventListener("click", () => state.about && reset());

document.addEventListener("paste", (event) => {
  if (event.clipboardData?.files.length) addFiles(event.clipboardData.files);
});
document.addEventListener("dragover", (event) => { event.preventDefault(); $("drop").classList.add("over"); });
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").classList.remove("over"); });
document.addEventListener("drop", (event) => {
  event.preventDefault(); // a miss must not open the image in place of the page
  $("drop").classList.remove("over");
  if (!event.dataTransfer.files.length) complain("That was no file. Drop an image from your disk.", "refused");
  addFiles(event.dataTransfer.files);
});

// In a narrow window the results come first, and what can be chosen is folded away.
const narrow = matchMedia("(max-width: 48rem)");
const fold = () => { $("options").open = !narrow.matches; };
narrow.addEventListener("change", fold);
fold();

try {
  state.about = await get("api/v1/about");
  showAbout(state.about);
  say(state.about.items ? missing() : "The gallery is empty. Put images into it with: partreid gallery add");
} catch (error) {
  $("about").textContent = "";
  complain(error instanceof Problem ? error.message : String(error));
}
