// The list of what was found, and one result beside the query.
import { itemImage, send } from "./api.js";
import { $, brief, make, moment, number, percent, image, swatch } from "./dom.js";

export function facts(found, slots) {
  return [
    make("span", { className: "figure" }, found.probability === null ? null : make("b", {}, percent(found.probability)),
      make("span", {}, found.distance === null ? "nothing compared" : `distance ${number(found.distance)}`)),
    dots(found, slots),
    found.camera === null ? null : make("span", {}, `camera ${found.camera}`),
    found.time === null ? null : moment(found.time),
  ];
}

// Which parts were compared, one dot each, and how many, in words.
function dots(found, slots) {
  const asked = slots.filter((slot) => slot.name in found.parts);
  const is = (slot) => found.parts[slot.name] !== null;
  const line = make("span", { className: "dots", title: `compared: ${asked.filter(is).map((slot) => slot.label).join(", ")}` });
  for (const slot of asked) {
    const dot = swatch(slot.color);
    dot.classList.toggle("empty", !is(slot));
    line.append(dot);
  }
  line.append(make("span", {}, `${found.compared} of ${asked.length} parts`));
  return line;
}

const cards = new Map(); // by id, so that an image is not fetched again when the order changes

export function showResults(ranking, slots, open) {
  const shown = ranking.results.map((found, index) => {
    const old = cards.get(found.id);
    const frame = old || image(itemImage(found.id), "");
    cards.set(found.id, frame);
    const button = make("button", { type: "button", className: "card" }, frame,
      make("span", { className: "text" },
        make("span", { className: "name", title: found.id }, brief(found.id)), ...facts(found, slots)),
      make("span", { className: "rank" }, index + 1));
    if (found.probability !== null) button.style.setProperty("--share", found.probability);
    button.classList.toggle("sure", found.probability !== null);
    button.addEventListener("click", () => open(index));
    return make("li", {}, button);
  });
  const focused = [...$("results").children].findIndex((child) => child.contains(document.activeElement));
  $("results").replaceChildren(...shown);
  if (focused >= 0) shown[Math.min(focused, shown.length - 1)]?.firstChild.focus();
  const kept = new Set(ranking.results.map((found) => found.id));
  for (const id of cards.keys()) if (!kept.has(id)) cards.delete(id);
  $("notes").replaceChildren(...ranking.notes.map((note) => make("p", {}, note)));
}

// Arrows go from card to card, as they lie on the screen.
$("results").addEventListener("keydown", (event) => {
  const all = [...$("results").querySelectorAll(".card")];
  const at = all.indexOf(event.target);
  if (at < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
  const top = all[0].offsetTop;
  const columns = Math.max(1, all.filter((card) => Math.abs(card.offsetTop - top) < 4).length);
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
  const next = event.key === "Home" ? 0 : event.key === "End" ? all.length - 1 : step ? at + step : -1;
  if (!all[next]) return;
  event.preventDefault();
  all[next].focus();
});

let asked = null; // what stops the request for the comparison shown

export async function compare(question, found, context) {
  asked?.abort();
  asked = new AbortController();
  $("compare-title").textContent = found.id;
  $("compare-body").replaceChildren(make("p", { className: "soft", role: "status" }, "Looking where the parts are …"));
  if (!$("compare").open) $("compare").showModal();
  try {
    const answer = await send("api/v1/compare", { ...question, item: found.id }, asked.signal);
    $("compare-body").replaceChildren(...comparison(answer, context));
  } catch (error) {
    if (error.name !== "AbortError") $("compare-body").replaceChildren(make("p", { className: "problem", role: "alert" }, error.message));
  }
}

const present = (all) => all.filter((one) => one !== null);

function comparison(answer, context) {
  const { found } = answer;
  const colors = new Map(context.slots.map((slot) => [slot.name, slot]));
  const full = answer.full_bar; // the same for all results, so that what is near looks near
  const rows = answer.parts.map((part) => {
    const slot = colors.get(part.slot);
    const bar = full === null ? null : make("span", { className: "meter" });
    bar?.style.setProperty("--share", Math.min((part.distance ?? 0) / full, 1));
    bar?.style.setProperty("--slot", slot.color);
    const side = (one, whose) => make("figure", {}, one.attention
      ? image(one.attention, `Where the model looks for ${slot.label} in the ${whose}`) : make("span", { className: "missing" }, "no map"),
      make("figcaption", {}, make("span", {}, whose), " ", make("span", { className: one.visibility > 0 ? "seen" : "unseen" },
        one.visibility > 0 ? "✓ visible" : "✗ not visible")));
    return make("li", {},
      make("h3", {}, swatch(slot.color), slot.label),
      part.distance === null ? make("p", { className: "soft" }, "not compared")
        : make("p", { className: "figure" }, number(part.distance), bar),
      make("div", { className: "sides" }, side(part.query, "query"), side(part.item, "result")));
  });
  const heads = [...answer.queries.map((address) => image(address, "The query, with its parts in colours"))];
  return present([
    ...answer.problems.map((problem) => make("p", { className: "problem" }, problem)),
    make("div", { className: "pair" },
      make("figure", {}, make("div", { className: "row" }, ...heads), make("figcaption", {}, "who is looked for")),
      make("figure", {}, image(answer.item, "The result, with its parts in colours"), make("figcaption", {}, "the result")),
      make("div", { className: "facts text" }, ...facts(found, context.slots), context.calibration === null
        ? make("span", { className: "soft" }, context.calibration_problem ? "No probability: the calibration is not used." : "No probability: the model has no calibration.") : found.probability === null
          ? make("span", { className: "soft" }, "No probability: the calibration is for all parts, compared its own way.") : null, details(found))),
    actions(found, context),
    make("h3", {}, "Part by part: distance, and where the model looks"),
    full === null ? null : make("p", { className: "soft" }, `A full bar is ${number(full)} or more: nearly all images of the gallery lie nearer to each other.`),
    make("ul", { className: "parts" }, ...rows),
  ]);
}

function details(found) {
  if (!found.metadata.length) return null;
  const pairs = found.metadata.flatMap(([key, text]) => [make("dt", {}, key), make("dd", {}, text)]);
  return make("details", {}, make("summary", {}, "What else is known"), make("dl", {}, ...pairs));
}

function actions(found, context) {
  const elsewhere = make("input", { type: "checkbox", checked: found.camera !== null });
  const line = make("p", { className: "row actions" },
    make("button", { type: "button", onclick: () => context.follow(found, elsewhere.checked) }, "Find this person elsewhere"));
  if (found.camera !== null) line.append(make("label", { className: "check" }, elsewhere, `not in camera ${found.camera}`));
  if (found.track !== null) {
    line.append(make("button", { type: "button", onclick: () => context.leaveOut(found.track) }, `Leave out track ${found.track}`));
  }
  return line;
}
