// The list of conversations; a drawer on narrow screens.
import type { Conversation, Store } from "./conversations.ts";
import { button, byId, element } from "./dom.ts";

export class Sidebar {
  readonly #store: Store;
  readonly #onChange: () => void;
  readonly #panel = byId("sidebar");
  readonly #menu = byId<HTMLButtonElement>("menu");
  readonly #scrim = byId("scrim");

  /** @param onChange  called when another conversation is the current one */
  constructor(store: Store, onChange: () => void) {
    this.#store = store;
    this.#onChange = onChange;
    byId("new").onclick = () => {
      store.add();
      this.#changed();
    };
    this.#menu.onclick = () => this.#toggle(!this.#panel.classList.contains("is-open"));
    this.#scrim.onclick = () => this.#toggle(false);
    this.#panel.onkeydown = ({ key }) => {
      if (key === "Escape") this.#toggle(false);
    };
  }

  show(): void {
    const { current } = this.#store;
    byId("conversations").replaceChildren(
      ...this.#store.all.map((conversation) => this.#item(conversation, conversation === current)),
    );
  }

  #item(conversation: Conversation, isCurrent: boolean): HTMLElement {
    const title = conversation.title || "New conversation";
    const open = button(
      title,
      () => {
        this.#store.open(conversation.id);
        this.#changed();
      },
      "open",
    );
    open.title = title;
    const small = (label: string, action: () => void) => {
      const made = button(label, action, "small");
      made.ariaLabel = `${label}: ${title}`;
      return made;
    };
    const item = element("li", {}, [
      open,
      small("Rename", () => this.#rename(conversation)),
      small("Delete", () => {
        if (!confirm(`Delete “${title}”?`)) return;
        this.#store.remove(conversation.id);
        this.#changed();
      }),
    ]);
    item.ariaCurrent = String(isCurrent);
    return item;
  }

  #rename(conversation: Conversation): void {
    const title = prompt("Title", conversation.title)?.trim() ?? "";
    if (title === "") return;
    conversation.title = title;
    this.#store.save();
    this.show();
  }

  #changed(): void {
    this.#toggle(false);
    this.show();
    this.#onChange();
  }

  #toggle(isOpen: boolean): void {
    this.#panel.classList.toggle("is-open", isOpen);
    this.#scrim.hidden = !isOpen;
    this.#menu.ariaExpanded = String(isOpen);
    if (isOpen) byId("new").focus();
  }
}
