// The chat page's files, which the build puts beside this one.
import { readFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { ApiError } from "./errors.ts";

/** Where the build puts them. */
export const pageFolder: string = join(import.meta.dirname, "web");

const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
};

/** Nothing is loaded from elsewhere, and nothing that a model writes runs. */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "form-action 'none'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** @throws ApiError 404 for what is no file of the page's */
export async function pageFile(folder: string, name: string): Promise<Response> {
  const type = types[extname(name)];
  const isName = /^[a-z0-9][a-z0-9.-]*$/.test(name);
  const content = isName && type !== undefined ? await readPageFile(join(folder, name)) : undefined;
  if (content === undefined || type === undefined) {
    throw new ApiError(404, `the page has no file ${JSON.stringify(name)}`, {
      code: "unknown_url",
    });
  }
  return new Response(content, {
    headers: {
      "content-type": type,
      "cache-control": "no-cache",
      "content-security-policy": policy,
      "referrer-policy": "no-referrer",
      "x-content-type-options": "nosniff",
    },
  });
}

async function readPageFile(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch {
    return undefined;
  }
}
