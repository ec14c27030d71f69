// The messages of a conversation on the page.
import type { Message } from "./conversations.ts";
import { button, byId, copyButton, element } from "./dom.ts";
import { renderMarkdown } from "./markdown.ts";

export type MessageActions = {
  /** Asks the question before an answer once more. */
  retry(index: number): void;
  /** Asks something else in the place of a question; what followed it goes. */
  edit(index: number, text: string): void;
};

/** Pixels from the end at which a reader still counts as being there. */
const nearEnd = 60;

export class MessagesView {
  readonly #list = byId("messages");
  readonly #actions: MessageActions;
  #live: { readonly message: Message; readonly text: HTMLElement } | undefined;
  #frame = 0;

  constructor(actions: MessageActions) {
    this.#actions = actions;
  }

  show(messages: readonly Message[], hint: string): void {
    this.#live = undefined;
    this.#list.replaceChildren(
      ...(messages.length === 0
        ? [element("p", { className: "empty", textContent: hint })]
        : messages.map((message, index) => this.#message(message, index))),
    );
    this.#list.scrollTop = this.#list.scrollHeight;
  }

  /** Shows an answer that grows from now on; `update` after each change. */
  begin(message: Message): void {
    const text = element("div", { className: "text cursor" });
    this.#list.append(element("article", { className: "message assistant" }, [text]));
    this.#live = { message, text };
    this.#list.scrollTop = this.#list.scrollHeight;
  }

  /** At most once a frame: rendering is slower than a fast model. */
  update(): void {
    if (this.#frame !== 0) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      if (this.#live === undefined) return;
      const { scrollTop, scrollHeight, clientHeight } = this.#list;
      const wasAtEnd = scrollHeight - scrollTop - clientHeight < nearEnd;
      this.#live.text.replaceChildren(renderMarkdown(this.#live.message.content));
      if (wasAtEnd) this.#list.scrollTop = this.#list.scrollHeight;
    });
  }

  #message(message: Message, index: number): HTMLElement {
    const article = element("article", { className: `message ${message.role}` });
    article.ariaLabel = message.role === "user" ? "You" : "Answer";
    const text = element("div", { className: "text" });
    if (message.role === "user") text.textContent = message.content;
    else text.append(renderMarkdown(message.content));
    for (const block of text.querySelectorAll("pre")) {
      const code = block.textContent ?? "";
      block.append(copyButton(() => code));
    }
    const tools = element("div", { className: "tools" }, this.#tools(message, index, article));
    article.append(text, tools);
    return article;
  }

  #tools(message: Message, index: number, article: HTMLElement): (Node | string)[] {
    if (message.role === "user") {
      return [button("Edit", () => this.#edit(message, index, article))];
    }
    const note = element("span", { className: "note", textContent: describe(message) });
    if (typeof message.end === "object") note.classList.add("wrong");
    return [
      note,
      copyButton(() => message.content),
      button("Retry", () => this.#actions.retry(index)),
    ];
  }

  #edit(message: Message, index: number, article: HTMLElement): void {
    const field = element("textarea", {
      value: message.content,
      rows: 3,
      ariaLabel: "Edited message",
    });
    const cancel = () => article.replaceWith(this.#message(message, index));
    const ask = () => {
      if (field.value.trim() !== "") this.#actions.edit(index, field.value.trim());
    };
    field.onkeydown = (event) => {
      if (event.key === "Escape") cancel();
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        ask();
      }
    };
    const tools = element("div", { className: "tools" }, [
      button("Ask", ask),
      button("Cancel", cancel),
    ]);
    article.replaceChildren(field, tools);
    field.focus();
  }
}

function describe({ tokens, seconds, end }: Message): string {
  const parts: string[] = [];
  if (typeof end === "object") parts.push(`failed: ${end.error}`);
  if (end === "stopped") parts.push("stopped");
  if (end === "length") parts.push("cut off at the longest answer allowed");
  if (tokens !== undefined) parts.push(`${tokens} tokens`);
  if (tokens !== undefined && seconds !== undefined && tokens > 1 && seconds > 0) {
    parts.push(`${((tokens - 1) / seconds).toFixed(1)} tokens/s`);
  }
  return parts.join(" · ");
}
