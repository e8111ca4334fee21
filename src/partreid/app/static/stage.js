// The image in which a box is drawn, by pointer or keyboard. Boxes are [left, top, right, bottom] in its pixels.
import { $ } from "./dom.js";

const SMALLEST = 4;

export class Stage {
  constructor(changed) {
    this.changed = changed;
    this.person = null;
    this.from = null;
    const stage = $("stage");
    stage.addEventListener("pointerdown", (event) => this.begin(event));
    stage.addEventListener("pointermove", (event) => this.drag(event));
    stage.addEventListener("pointerup", (event) => this.end(event));
    stage.addEventListener("pointercancel", (event) => this.end(event));
    stage.addEventListener("keydown", (event) => this.key(event));
  }

  show(person, address) {
    this.person = person;
    const there = Boolean(person && person.token);
    $("stage").hidden = $("stage-hint").hidden = !there;
    if (there) {
      if ($("image").getAttribute("src") !== address) $("image").src = address;
      $("image").alt = `The image ${person.name}`;
      $("stage").style.setProperty("--ratio", person.width / person.height);
      $("stage").style.setProperty("--natural", `${person.width}px`);
    }
    this.draw();
  }

  draw() {
    const person = this.person;
    const box = person?.token ? person.box : null;
    $("box").hidden = !box;
    $("stage").classList.toggle("boxed", Boolean(box));
    if (box) {
      const [left, top, right, bottom] = box;
      const style = $("box").style;
      style.left = `${100 * left / person.width}%`;
      style.top = `${100 * top / person.height}%`;
      style.width = `${100 * (right - left) / person.width}%`;
      style.height = `${100 * (bottom - top) / person.height}%`;
    }
    $("box-text").textContent = !person?.token ? "" : box
      ? `Box: ${box[0]}, ${box[1]} to ${box[2]}, ${box[3]} of ${person.width} × ${person.height}` : "";
    $("stage").setAttribute("aria-label", box ? "Image with a box" : "Image without a box");
  }

  place(event) {
    const area = $("image").getBoundingClientRect();
    const { width, height } = this.person;
    const inside = (value, most) => Math.round(Math.min(Math.max(value, 0), 1) * most);
    return [inside((event.clientX - area.left) / area.width, width), inside((event.clientY - area.top) / area.height, height)];
  }

  begin(event) {
    if (event.button !== 0 || !this.person) return;
    this.from = this.place(event);
    this.before = this.person.box;
    $("stage").setPointerCapture(event.pointerId);
  }

  drag(event) {
    if (!this.from) return;
    const [x, y] = this.from, [u, v] = this.place(event);
    const box = [Math.min(x, u), Math.min(y, v), Math.max(x, u), Math.max(y, v)];
    if (box[2] - box[0] >= SMALLEST && box[3] - box[1] >= SMALLEST) this.person.box = box;
    this.draw();
  }

  end(event) {
    if (!this.from) return;
    if (event.type === "pointercancel") this.person.box = this.before;
    this.from = null;
    this.draw();
    if (this.person.box !== this.before) this.changed();
  }

  key(event) {
    const person = this.person;
    if (!person || event.ctrlKey || event.altKey || event.metaKey) return;
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const { width, height } = person;
    if (event.key === "Enter" && !person.box) {
      person.box = [width / 4, height / 8, 3 * width / 4, 7 * height / 8].map(Math.round);
    } else if ((event.key === "Escape" || event.key === "Delete") && person.box) {
      person.box = null;
    } else if (event.key in steps && person.box) {
      const by = Math.max(1, Math.round(Math.max(width, height) / 100));
      const [dx, dy] = steps[event.key].map((step) => step * by);
      let [left, top, right, bottom] = person.box;
      if (event.shiftKey) {
        right = Math.min(Math.max(right + dx, left + SMALLEST), width);
        bottom = Math.min(Math.max(bottom + dy, top + SMALLEST), height);
      } else {
        const x = Math.min(Math.max(dx, -left), width - right), y = Math.min(Math.max(dy, -top), height - bottom);
        [left, top, right, bottom] = [left + x, top + y, right + x, bottom + y];
      }
      person.box = [left, top, right, bottom];
    } else {
      return;
    }
    event.preventDefault();
    this.draw();
    this.changed();
  }
}
