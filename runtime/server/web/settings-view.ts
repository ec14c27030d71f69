import type { Sampling } from "./api.ts";
import type { Settings, Store } from "./conversations.ts";
import { byId } from "./dom.ts";

const numbers = ["temperature", "top_p", "top_k", "repetition_penalty", "max_tokens"] as const;

/** The fields of the settings; what a person never changed is the model's own. */
export class SettingsView {
  readonly #store: Store;
  readonly #defaults: Sampling;
  readonly #system = byId<HTMLTextAreaElement>("system");
  readonly #seed = byId<HTMLInputElement>("seed");

  constructor(store: Store, defaults: Sampling) {
    this.#store = store;
    this.#defaults = defaults;
    const panel = byId("settings");
    const open = byId<HTMLButtonElement>("settings-open");
    open.onclick = () => {
      panel.hidden = !panel.hidden;
      open.ariaExpanded = String(!panel.hidden);
    };
    panel.onchange = () => this.#keep();
    byId("reset").onclick = () => {
      store.settings = {};
      this.#show();
    };
    this.#show();
  }

  get current(): Settings {
    const { system = "", seed = null, ...changed } = this.#store.settings;
    return { ...this.#defaults, ...changed, system, seed };
  }

  #show(): void {
    const { current } = this;
    for (const name of numbers) this.#field(name).value = String(current[name]);
    this.#system.value = current.system;
    this.#seed.value = current.seed === null ? "" : String(current.seed);
  }

  /** Only what is valid and differs from the model's own. */
  #keep(): void {
    const settings: Partial<Settings> = {};
    for (const name of numbers) {
      const { valueAsNumber, validity } = this.#field(name);
      const isChanged = valueAsNumber !== this.#defaults[name];
      if (validity.valid && Number.isFinite(valueAsNumber) && isChanged) {
        settings[name] = valueAsNumber;
      }
    }
    if (this.#system.value.trim() !== "") settings.system = this.#system.value;
    const seed = this.#seed.valueAsNumber;
    if (Number.isSafeInteger(seed) && seed >= 0) settings.seed = seed;
    this.#store.settings = settings;
    this.#show();
  }

  #field(name: (typeof numbers)[number]): HTMLInputElement {
    return byId<HTMLInputElement>(name);
  }
}
