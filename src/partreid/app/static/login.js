// Who asks: a token where the page knows users, kept by the browser as a cookie that no script can read.
import { $, make } from "./dom.js";

const SESSION = "api/v1/session";
let asking = null; // one form for all requests that wait for it

async function ask(method, body) {
  const response = await fetch(SESSION, body === undefined ? { method } : {
    method, body: JSON.stringify(body), headers: { "content-type": "application/json" },
  });
  const content = await response.json();
  if (!response.ok) throw new Error(content.error);
  return content;
}

// Ask for a token until one is right.
export function logIn() {
  asking ??= form().finally(() => { asking = null; });
  return asking;
}

function form() {
  const words = make("p", { className: "problem", role: "alert", hidden: true });
  const token = make("input", { type: "password", autocomplete: "current-password", required: true, id: "token" });
  const send = make("button", { type: "submit" }, "Log in");
  const inside = make("form", { id: "log-in" }, make("h2", { id: "log-in-title" }, "Log in"),
    make("label", {}, "Your token ", token), words, make("p", { className: "row" }, send));
  const dialog = make("dialog", { className: "log-in", "aria-labelledby": "log-in-title" }, inside);
  document.body.append(dialog);
  dialog.addEventListener("cancel", (event) => event.preventDefault()); // without a token there is nothing to see
  dialog.showModal();
  token.focus();
  return new Promise((resolve) => {
    inside.addEventListener("submit", async (event) => {
      event.preventDefault();
      send.disabled = true;
      try {
        showSession(await ask("POST", { token: token.value.trim() }));
        dialog.remove();
        resolve();
      } catch (error) {
        words.textContent = error.message;
        words.hidden = false;
        send.disabled = false;
        token.select();
      }
    });
  });
}

function showSession(session) {
  document.querySelector("#session")?.remove();
  if (!session.user) return;
  const out = make("button", { type: "button", className: "link", id: "log-out" }, "Log out");
  out.addEventListener("click", async () => {
    await ask("DELETE");
    location.reload();
  });
  $("pages").after(make("p", { id: "session", className: "soft" }, `${session.user} `, out));
}

ask("GET").then(showSession, () => {}); // whatever is asked next says what is wrong
