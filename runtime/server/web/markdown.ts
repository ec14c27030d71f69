// A model's text as HTML in which nothing runs and nothing is loaded. The page's content security policy is the second defence.
import purify from "./dompurify.js";
import { marked } from "./marked.js";

const rules = {
  USE_PROFILES: { html: true },
  // Pictures, sounds and forms could reach other machines; styles could cover the page.
  FORBID_TAGS: [
    "img",
    "picture",
    "source",
    "audio",
    "video",
    "form",
    "input",
    "button",
    "style",
    "dialog",
  ],
  FORBID_ATTR: ["style", "class", "id", "name", "background", "srcset"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  RETURN_DOM_FRAGMENT: true,
} as const;

export function renderMarkdown(text: string): DocumentFragment {
  const html = marked.parse(text, { async: false, gfm: true, breaks: true });
  const fragment = purify.sanitize(html, {
    ...rules,
    FORBID_TAGS: [...rules.FORBID_TAGS],
    FORBID_ATTR: [...rules.FORBID_ATTR],
  });
  for (const link of fragment.querySelectorAll("a")) {
    link.rel = "noopener noreferrer";
    link.target = "_blank";
  }
  return fragment;
}
