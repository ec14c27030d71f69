// What was said, kept in this browser.

export type Message = {
  readonly role: "user" | "assistant";
  content: string;
  /** Of an answer: how many tokens, in how many seconds from the first on. */
  tokens?: number;
  seconds?: number;
  /** "stopped" by a person, "length" where it was cut off, or what went wrong. */
  end?: "stopped" | "length" | { readonly error: string };
};

export type Conversation = {
  readonly id: string;
  title: string;
  messages: Message[];
};

export type Settings = {
  system: string;
  temperature: number;
  top_p: number;
  top_k: number;
  repetition_penalty: number;
  max_tokens: number;
  /** null for another one each time */
  seed: number | null;
};

type Stored = { conversations: Conversation[]; current: string; settings: Partial<Settings> };

const name = "nibble-chat-1";

export class Store {
  readonly #stored: Stored;
  readonly #onProblem: (problem: string) => void;

  constructor(onProblem: (problem: string) => void) {
    this.#onProblem = onProblem;
    this.#stored = read();
    if (this.#stored.conversations.length === 0) this.add();
  }

  get all(): readonly Conversation[] {
    return this.#stored.conversations;
  }

  get current(): Conversation {
    const { conversations, current } = this.#stored;
    const found = conversations.find(({ id }) => id === current) ?? conversations[0];
    return found ?? this.add();
  }

  get settings(): Partial<Settings> {
    return this.#stored.settings;
  }

  set settings(settings: Partial<Settings>) {
    this.#stored.settings = settings;
    this.save();
  }

  /** A new one, unless the newest is still empty. */
  add(): Conversation {
    const [newest] = this.#stored.conversations;
    const conversation =
      newest?.messages.length === 0 ? newest : { id: crypto.randomUUID(), title: "", messages: [] };
    if (conversation !== newest) this.#stored.conversations.unshift(conversation);
    this.open(conversation.id);
    return conversation;
  }

  open(id: string): void {
    this.#stored.current = id;
    this.save();
  }

  remove(id: string): void {
    const { conversations } = this.#stored;
    this.#stored.conversations = conversations.filter((conversation) => conversation.id !== id);
    this.save();
  }

  save(): void {
    try {
      localStorage.setItem(name, JSON.stringify(this.#stored));
    } catch {
      this.#onProblem("This browser has no room left to keep conversations; delete some.");
    }
  }
}

function read(): Stored {
  const empty: Stored = { conversations: [], current: "", settings: {} };
  try {
    const stored = JSON.parse(localStorage.getItem(name) ?? "{}") as Partial<Stored>;
    return Array.isArray(stored.conversations) ? { ...empty, ...stored } : empty;
  } catch {
    return empty;
  }
}
