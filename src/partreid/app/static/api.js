// Talking to the page's server: JSON in and out, errors in words.
import { logIn } from "./login.js";

const UNKNOWN = 401;

export class Problem extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

async function answer(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The page's server does not answer. Is it still running in its terminal?");
  }
  let content = null;
  try {
    content = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
  }
  if (response.ok && content) return content;
  if (response.status === UNKNOWN) {
    await logIn();
    return answer(path, options);
  }
  const words = content?.error || (response.status === 503 ? "The page is busy. Wait a moment, then try again."
    : `The server answered with the status ${response.status}.`);
  throw new Problem(words, response.status);
}

export const get = (path, signal) => answer(path, { signal });

export const send = (path, body, signal) => answer(path, {
  method: "POST", signal, body: JSON.stringify(body), headers: { "content-type": "application/json" },
});

export const upload = (file, signal) => answer("api/v1/images", {
  method: "POST", signal, body: file, headers: { "content-type": "application/octet-stream" },
});

export const itemImage = (id) => `api/v1/item?id=${encodeURIComponent(id)}`;
export const keptImage = (id) => `api/v1/image?id=${encodeURIComponent(id)}`;
