// Which cache blocks hold whose tokens. Sequences that begin alike share the blocks of what they have in common (Kwon et al.,
// "PagedAttention", arXiv:2309.06180), and blocks that nobody uses keep their tokens until their room is needed.

/** A block full of tokens, found by what it holds and what came before it. */
type SharedBlock = {
  readonly id: number;
  readonly key: string;
  readonly block: number;
  users: number;
};

export type PoolOptions = {
  /** Blocks of the cache. */
  readonly blocks: number;
  /** Consecutive positions in each. */
  readonly blockSize: number;
  /** Whether sequences share what they have in common; true by default. */
  readonly shares?: boolean;
};

/** Hands out blocks. It only counts: contents are written by operations in the order in which blocks were handed out. */
export class BlockPool {
  readonly blockSize: number;
  readonly #blocks: number;
  readonly #shares: boolean;
  readonly #free: number[];
  readonly #shared = new Map<string, SharedBlock>();
  /** Shared blocks without users, the longest unused first. */
  readonly #idle = new Map<number, SharedBlock>();
  #reserved = 0;
  #lastId = 0;

  constructor({ blocks, blockSize, shares = true }: PoolOptions) {
    this.blockSize = blockSize;
    this.#blocks = blocks;
    this.#shares = shares;
    this.#free = Array.from({ length: blocks }, (_, i) => blocks - 1 - i);
  }

  /** Blocks that belong to open sequences, those reserved for their growth not counted. */
  get used(): number {
    return this.#blocks - this.#free.length - this.#idle.size;
  }

  /** Blocks whose tokens are kept for sequences to come. */
  get idle(): number {
    return this.#idle.size;
  }

  get blocks(): number {
    return this.#blocks;
  }

  /** Tokens of the longest sequence that could be opened if there were no other. */
  get capacity(): number {
    return this.#blocks * this.blockSize;
  }

  /**
   * Opens a sequence and reserves room for all that it may come to hold. `length` of it tells how many tokens of the prompt are
   * there already: all but the last at most, since what follows it is wanted.
   *
   * @param kind  sequences share tokens only with those of the same kind: keys depend on the rotary base, for one
   * @param room  tokens it may come to hold
   * @returns undefined if there is no room at present
   */
  open(prompt: readonly number[], kind: number, room: number): PooledSequence | undefined {
    const found = this.#find(prompt, kind);
    for (const shared of found) this.#use(shared);
    const missing = Math.max(0, Math.ceil(room / this.blockSize) - found.length);
    if (this.#free.length + this.#idle.size - this.#reserved < missing) {
      for (const shared of found.toReversed()) this.#leave(shared);
      return undefined;
    }
    this.#reserved += missing;
    return new PooledSequence(this.#access(), { prompt, kind, found, reserved: missing });
  }

  #find(prompt: readonly number[], kind: number): SharedBlock[] {
    const found: SharedBlock[] = [];
    const { blockSize } = this;
    for (let end = blockSize; this.#shares && end < prompt.length; end += blockSize) {
      const key = keyOf(found.at(-1)?.id ?? -kind, prompt.slice(end - blockSize, end));
      const shared = this.#shared.get(key);
      if (shared === undefined) break;
      found.push(shared);
    }
    return found;
  }

  #use(shared: SharedBlock): void {
    if (shared.users === 0) this.#idle.delete(shared.block);
    shared.users += 1;
  }

  #leave(shared: SharedBlock): void {
    shared.users -= 1;
    if (shared.users === 0) this.#idle.set(shared.block, shared);
  }

  #access(): PoolAccess {
    return {
      blockSize: this.blockSize,
      take: () => {
        this.#reserved -= 1;
        const free = this.#free.pop();
        if (free !== undefined) return free;
        const [oldest] = this.#idle.values();
        if (oldest === undefined) throw new RangeError("a sequence outgrew its reservation");
        this.#idle.delete(oldest.block);
        this.#shared.delete(oldest.key);
        return oldest.block;
      },
      share: (block, parent, tokens) => {
        const key = keyOf(parent, tokens);
        if (!this.#shares || this.#shared.has(key)) return undefined;
        this.#lastId += 1;
        const shared = { id: this.#lastId, key, block, users: 1 };
        this.#shared.set(key, shared);
        return shared;
      },
      give: (entry) => {
        if (typeof entry === "number") this.#free.push(entry);
        else this.#leave(entry);
      },
      release: (count) => {
        this.#reserved -= count;
      },
    };
  }
}

/** What a sequence does to its pool. */
type PoolAccess = {
  readonly blockSize: number;
  take(): number;
  share(block: number, parent: number, tokens: readonly number[]): SharedBlock | undefined;
  give(entry: number | SharedBlock): void;
  release(reserved: number): void;
};

/** One sequence's blocks and the tokens in them. */
export class PooledSequence implements Disposable {
  readonly blocks: number[] = [];
  readonly #pool: PoolAccess;
  readonly #tokens: number[];
  /** Of each block, what the pool knows it as. */
  readonly #entries: (number | SharedBlock)[] = [];
  #reserved: number;
  /** Where full blocks hang; undefined once another sequence's copy stands there. */
  #parent: number | undefined;
  #isOpen = true;

  constructor(
    pool: PoolAccess,
    start: {
      readonly prompt: readonly number[];
      readonly kind: number;
      readonly found: readonly SharedBlock[];
      readonly reserved: number;
    },
  ) {
    const { prompt, kind, found, reserved } = start;
    this.#pool = pool;
    this.#reserved = reserved;
    this.#entries.push(...found);
    this.blocks.push(...found.map(({ block }) => block));
    this.#tokens = prompt.slice(0, found.length * pool.blockSize);
    this.#parent = found.at(-1)?.id ?? -kind;
  }

  /** Tokens stored. */
  get length(): number {
    return this.#tokens.length;
  }

  /** Counts tokens as stored; the operations that store them must be called before any other sequence is opened or extended. */
  extend(tokens: readonly number[]): void {
    const { blockSize } = this.#pool;
    for (const token of tokens) {
      if (this.#tokens.length % blockSize === 0) {
        const block = this.#pool.take();
        this.#reserved -= 1;
        this.blocks.push(block);
        this.#entries.push(block);
      }
      this.#tokens.push(token);
      if (this.#tokens.length % blockSize === 0) this.#shareLast();
    }
  }

  #shareLast(): void {
    if (this.#parent === undefined) return;
    const last = this.blocks.length - 1;
    const tokens = this.#tokens.slice(last * this.#pool.blockSize);
    const shared = this.#pool.share(this.blocks[last] ?? 0, this.#parent, tokens);
    if (shared !== undefined) this.#entries[last] = shared;
    this.#parent = shared?.id;
  }

  /** Gives everything back; operations called later may overwrite it. */
  [Symbol.dispose](): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#pool.release(this.#reserved);
    // The end first: it is of less use than the beginning, and room is made from what was given back first.
    for (const entry of this.#entries.toReversed()) this.#pool.give(entry);
  }
}

/** Parents are positive ids of blocks or the negative kind of a sequence. */
function keyOf(parent: number, tokens: readonly number[]): string {
  return `${parent}:${tokens.join()}`;
}
