// Who there is, where each one was, and saying who is who.
import { Problem, get, itemImage, send } from "./api.js";
import { $, image, make, moment, percent } from "./dom.js";

const state = { persons: null, person: "", asked: null };

const say = (words) => { $("status").textContent = words; };

function complain(words) {
  $("problem").textContent = words;
  $("problem").hidden = !words;
}

const count = (number, word) => `${number.toLocaleString()} ${word}${number === 1 ? "" : "s"}`;

// ---- who there is ----------------------------------------------------------------------------------------------

async function ask() {
  state.persons = await get("api/v1/persons");
  const { persons, total, unlinked, edits, problem } = state.persons;
  const others = unlinked ? ` · ${count(unlinked, "item")} without a person` : "";
  $("about").textContent = total ? count(total, "person") + others : "Nobody is linked yet. Run: partreid link GALLERY";
  $("read-only").textContent = problem;
  $("read-only").hidden = edits || !total;
  $("names").replaceChildren(...persons.map((one) => make("option", { value: one.name })));
  list();
}

function list() {
  const wanted = $("filter").value.trim().toLowerCase();
  const { persons, total } = state.persons;
  const shown = persons.filter((one) => one.name.toLowerCase().includes(wanted));
  $("listed").textContent = persons.length < total ? `${shown.length} of the first ${persons.length} of ${total}`
    : wanted ? `${shown.length} of ${total}` : "";
  $("persons").replaceChildren(...shown.map((one) => {
    const button = make("button", { type: "button", className: "person", "aria-current": one.name === state.person ? "true" : "false" },
      image(itemImage(one.best), ""),
      make("span", { className: "text" }, make("span", { className: "name" }, one.name),
        make("span", {}, `${count(one.tracks, "track")}, ${count(one.cameras.length, "camera")}`),
        one.known ? make("span", {}, "named by people") : null));
    button.addEventListener("click", () => show(one.name, true));
    return make("li", {}, button);
  }));
}

// ---- where one was ---------------------------------------------------------------------------------------------

async function show(name, move = false) {
  state.asked?.abort();
  state.asked = new AbortController();
  complain("");
  say("Looking …");
  if (name !== state.person) $("other").value = ""; // now: what is written while the answer is on its way stays
  try {
    const journey = await get(`api/v1/journey?person=${encodeURIComponent(name)}`, state.asked.signal);
    state.person = name;
    draw(journey);
    for (const button of $("persons").querySelectorAll(".person")) {
      button.setAttribute("aria-current", button.querySelector(".name").textContent === name ? "true" : "false");
    }
    history.replaceState(null, "", `#${encodeURIComponent(name)}`);
    if (move) $("journey").focus({ preventScroll: !matchMedia("(max-width: 48rem)").matches });
  } catch (error) {
    if (error.name === "AbortError") return;
    say("");
    complain(error.message);
  }
}

function draw({ person, steps }) {
  $("journey-title").textContent = person.name;
  const more = steps.length < person.tracks ? ` The first ${steps.length} are shown.` : "";
  say(`${count(person.tracks, "track")} in ${count(person.cameras.length, "camera")}.${more}`);
  $("edit").hidden = !state.persons.edits;
  drawStrip(steps);
  $("steps").replaceChildren(...steps.map((step) => {
    const box = make("input", { type: "checkbox", value: step.id, name: "track" });
    box.addEventListener("change", ready);
    return make("li", { className: "step" },
      image(itemImage(step.id), `Track ${step.id}`),
      make("span", { className: "text" }, make("span", { className: "name", title: step.id }, step.id),
        step.camera === null ? null : make("span", {}, `camera ${step.camera}`),
        step.start === null ? make("span", {}, "time not known") : make("span", {}, moment(step.start), lasting(step)),
        make("span", { className: "figure" }, sure(step, person))),
      state.persons.edits && !step.known ? make("label", { className: "check" }, box, "choose") : null);
  }));
  ready();
}

function lasting(step) {
  const seconds = Math.round((new Date(step.end) - new Date(step.start)) / 1000);
  return seconds > 0 ? `, ${count(seconds, "second")}` : "";
}

function sure(step, person) {
  if (step.known) return "named by people";
  if (step.probability !== null) return make("b", {}, percent(step.probability));
  return person.tracks > 1 ? "no probability" : "alone";
}

// A lane for each camera, over time. The list below says the same in words.
function drawStrip(steps) {
  const timed = steps.filter((step) => step.start !== null);
  $("strip").hidden = timed.length < 2;
  $("zone").textContent = timed.length ? `Times are in your zone, ${Intl.DateTimeFormat().resolvedOptions().timeZone}.` : "";
  if (timed.length < 2) return;
  const at = (iso) => new Date(iso).getTime();
  const begin = Math.min(...timed.map((step) => at(step.start))), end = Math.max(...timed.map((step) => at(step.end)));
  const whole = Math.max(end - begin, 1);
  const lanes = new Map();
  for (const step of timed) {
    const name = step.camera === null ? "unknown" : step.camera;
    if (!lanes.has(name)) lanes.set(name, make("span", { className: "track" }));
    const bar = make("i", { title: step.id });
    bar.style.setProperty("--from", (at(step.start) - begin) / whole);
    bar.style.setProperty("--long", (at(step.end) - at(step.start)) / whole);
    lanes.get(name).append(bar);
  }
  const seen = timed.map((step) => step.camera ?? "unknown").filter((name, i, all) => name !== all[i - 1]);
  $("strip").setAttribute("aria-label", `Cameras over time: ${seen.join(", then ")}`);
  $("strip").replaceChildren(
    ...[...lanes].map(([name, track]) => make("div", { className: "lane" }, make("span", { title: name }, name), track)),
    make("p", { className: "ends" }, moment(new Date(begin).toISOString()), moment(new Date(end).toISOString())));
}

// ---- who is who ------------------------------------------------------------------------------------------------

const chosen = () => [...document.querySelectorAll("input[name=track]:checked")].map((box) => box.value);

function ready() {
  const some = chosen().length;
  $("split").disabled = !some || some === document.querySelectorAll(".step").length;
}

async function change(path, body, words) {
  complain("");
  say("Writing …");
  try {
    const { person } = await send(path, body);
    $("other").value = "";
    await ask();
    await show(person);
    say(words(person));
  } catch (error) {
    say("");
    complain(error.message);
  }
}

$("edit").addEventListener("submit", (event) => {
  event.preventDefault();
  const tracks = chosen(), from = state.person;
  if (tracks.length) change("api/v1/split", { tracks }, (person) => `${count(tracks.length, "track")} of ${from} ${tracks.length === 1 ? "is" : "are"} ${person} now. To undo, merge both.`);
});
$("merge").addEventListener("click", () => {
  const other = $("other").value.trim(), person = state.person;
  if (!other) return complain("Write the name of the person who is the same.");
  return change("api/v1/merge", { person, other }, (name) => `${person} and ${other} are ${name} now.`);
});
$("filter").addEventListener("input", list);

try {
  await ask();
  const wanted = decodeURIComponent(location.hash.slice(1));
  const first = state.persons.persons.find((one) => one.name === wanted) ?? state.persons.persons[0];
  if (first) await show(first.name);
} catch (error) {
  $("about").textContent = "";
  complain(error instanceof Problem ? error.message : String(error));
}
