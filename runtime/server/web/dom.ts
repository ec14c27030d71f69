/** The element that index.html has under this id. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`index.html has no #${id}`);
  return element as T;
}

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  children: readonly (Node | string)[] = [],
): HTMLElementTagNameMap[K] {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

export function button(label: string, onclick: () => void, className = ""): HTMLButtonElement {
  return element("button", { type: "button", textContent: label, onclick, className });
}

export function copyButton(text: () => string): HTMLButtonElement {
  const tell = (said: string) => {
    copy.textContent = said;
    setTimeout(() => {
      copy.textContent = "Copy";
    }, 1500);
  };
  const copy = button("Copy", () => {
    // Pages over plain HTTP from another machine have no clipboard.
    const written = navigator.clipboard?.writeText(text()) ?? Promise.reject(new Error());
    written.then(
      () => tell("Copied"),
      () => tell("Not allowed"),
    );
  });
  copy.classList.add("copy");
  return copy;
}
