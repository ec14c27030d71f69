// The chat page: asks, shows the answer as it comes, and keeps what was said in this browser.
import {
  type ApiMessage,
  firstModel,
  KeyNeeded,
  keepKey,
  type ModelInfo,
  streamAnswer,
} from "./api.ts";
import { type Conversation, type Message, Store } from "./conversations.ts";
import { byId } from "./dom.ts";
import { MessagesView } from "./messages-view.ts";
import { SettingsView } from "./settings-view.ts";
import { Sidebar } from "./sidebar.ts";

const input = byId<HTMLTextAreaElement>("input");
const send = byId<HTMLButtonElement>("send");
const stop = byId<HTMLButtonElement>("stop");
const status = byId("status");
const hint = "Ask something. Enter sends, Shift+Enter begins a new line, Esc stops an answer.";
const baseHint = "This is a base model without a chat format: /v1/completions continues a prompt.";

const store = new Store((problem) => {
  status.textContent = problem;
});
const view = new MessagesView({ retry, edit });
const sidebar = new Sidebar(store, () => {
  running?.abort();
  showCurrent();
  input.focus();
});
let model: ModelInfo | undefined;
let settings: SettingsView | undefined;
let running: AbortController | undefined;

byId("composer").onsubmit = (event) => {
  event.preventDefault();
  const text = input.value.trim();
  if (text === "" || running !== undefined || settings === undefined) return;
  input.value = "";
  fitInput();
  ask(store.current, text);
};
input.onkeydown = (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  byId<HTMLFormElement>("composer").requestSubmit();
};
input.oninput = fitInput;
stop.onclick = () => running?.abort();
document.addEventListener("keydown", ({ key }) => {
  if (key === "Escape") running?.abort();
});
sidebar.show();
showCurrent();
await connect();

async function connect(): Promise<void> {
  try {
    model = await firstModel();
  } catch (error) {
    if (error instanceof KeyNeeded) askForKey();
    else status.textContent = `The server cannot be reached: ${describe(error)}`;
    return;
  }
  const { quantization, kv_cache, device, chat, sampling } = model.nibble;
  byId("model").textContent = model.id;
  byId("details").textContent = `${quantization} · cache ${kv_cache} · ${device}`;
  document.title = `${model.id} – Nibble`;
  settings = new SettingsView(store, sampling);
  status.textContent = "";
  input.disabled = !chat;
  send.disabled = !chat;
  if (!chat) view.show([], baseHint);
  else input.focus();
}

function askForKey(): void {
  const dialog = byId<HTMLDialogElement>("key");
  const field = byId<HTMLInputElement>("key-input");
  dialog.onclose = () => {
    keepKey(field.value);
    field.value = "";
    void connect();
  };
  dialog.showModal();
}

function showCurrent(): void {
  view.show(store.current.messages, hint);
}

function ask(conversation: Conversation, text: string): void {
  conversation.messages.push({ role: "user", content: text });
  if (conversation.title === "") conversation.title = text.replaceAll(/\s+/g, " ").slice(0, 60);
  void answer(conversation);
}

function retry(index: number): void {
  if (running !== undefined) return;
  const conversation = store.current;
  conversation.messages.length = index;
  void answer(conversation);
}

function edit(index: number, text: string): void {
  running?.abort();
  const conversation = store.current;
  conversation.messages.length = index;
  ask(conversation, text);
}

async function answer(conversation: Conversation): Promise<void> {
  if (model === undefined || settings === undefined) return;
  const { system, seed, ...sampling } = settings.current;
  const told: ApiMessage[] = conversation.messages.map(({ role, content }) => ({ role, content }));
  if (system.trim() !== "") told.unshift({ role: "system", content: system });
  const body = { model: model.id, messages: told, ...sampling, ...(seed === null ? {} : { seed }) };
  const controller = new AbortController();
  const message: Message = { role: "assistant", content: "" };
  running = controller;
  showRunning();
  showCurrent();
  conversation.messages.push(message);
  view.begin(message);
  sidebar.show();
  store.save();
  try {
    await receive(message, streamAnswer(body, controller.signal));
  } catch (error) {
    message.end = controller.signal.aborted ? "stopped" : { error: describe(error) };
    if (error instanceof KeyNeeded) askForKey();
  }
  store.save();
  // A newer answer may have taken over.
  if (running !== controller) return;
  running = undefined;
  showRunning();
  if (store.current === conversation) showCurrent();
  status.textContent = message.end === "stopped" ? "Stopped." : "The answer is complete.";
  input.focus();
}

/** Milliseconds between two times that an unfinished answer is kept. */
const keepInterval = 1000;

async function receive(message: Message, events: ReturnType<typeof streamAnswer>): Promise<void> {
  let first: number | undefined;
  let pieces = 0;
  let kept = performance.now();
  for await (const event of events) {
    const now = performance.now();
    if (event.kind === "text") {
      first ??= now;
      pieces += 1;
      message.content += event.text;
      // An estimate until the server tells: nearly every piece is a token.
      message.tokens = pieces;
      message.seconds = (now - first) / 1000;
      view.update();
    } else if (event.kind === "finish" && event.reason === "length") message.end = "length";
    else if (event.kind === "usage") message.tokens = event.tokens;
    if (now - kept < keepInterval) continue;
    kept = now;
    store.save();
  }
}

function showRunning(): void {
  send.hidden = running !== undefined;
  stop.hidden = running === undefined;
  if (running !== undefined) status.textContent = "Answering…";
}

function fitInput(): void {
  input.style.height = "auto";
  input.style.height = `${input.scrollHeight + 2}px`;
}

function describe(error: unknown): string {
  if (error instanceof KeyNeeded) return "a key is needed";
  return error instanceof Error ? error.message : String(error);
}
