// Making elements. Text is always set as text, never as markup.

export const $ = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function swatch(color) {
  const element = make("i", { className: "swatch" });
  element.style.setProperty("--slot", color);
  return element;
}

// An image, or words in its place where it cannot be shown.
export function image(address, alt) {
  const frame = make("span", { className: "image" });
  const missing = () => frame.replaceChildren(make("span", { className: "missing" }, "no image to show"));
  if (!address) {
    missing();
    return frame;
  }
  const image = make("img", { alt, decoding: "async", loading: "lazy" });
  image.addEventListener("error", missing);
  image.src = address;
  frame.append(image);
  return frame;
}

const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

// A moment in the browser's zone, with UTC as tooltip.
export function moment(iso) {
  const time = new Date(iso);
  if (Number.isNaN(time.getTime())) return make("span", {}, iso);
  return make("time", { dateTime: iso, title: `${iso.replace("T", " ").replace("+00:00", "")} UTC` }, local.format(time));
}

// An id without the folders before it: ids are often paths.
export const brief = (id) => id.slice(id.lastIndexOf("/") + 1) || id;

export const percent = (share) => {
  const value = 100 * share;
  return value > 99 && value < 100 ? "> 99 %" : value < 1 ? "< 1 %" : `${Math.round(value)} %`;
};

export const number = (value) => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));
