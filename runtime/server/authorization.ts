import { createHash, timingSafeEqual } from "node:crypto";
import type { MiddlewareHandler } from "hono";
import { ApiError } from "./errors.ts";

export type Credentials = {
  /** What clients send as `Authorization: Bearer`. */
  readonly apiKey?: string | undefined;
  /** "user:password", for browsers. */
  readonly basic?: string | undefined;
};

/** Paths that are answered without credentials. */
export type OpenPaths = (path: string) => boolean;

/** Lets requests pass that bring either of the credentials; all where there are none. */
export function authorization(credentials: Credentials, isOpen: OpenPaths): MiddlewareHandler {
  const { apiKey, basic } = credentials;
  const accepted = [
    ...(apiKey === undefined ? [] : [`Bearer ${apiKey}`]),
    ...(basic === undefined ? [] : [`Basic ${Buffer.from(basic).toString("base64")}`]),
  ].map(digest);
  return async (context, next) => {
    if (accepted.length === 0 || isOpen(context.req.path)) return next();
    const given = digest(normalize(context.req.header("authorization") ?? ""));
    // Every comparison is made, each in constant time.
    const matches = accepted.filter((known) => timingSafeEqual(known, given));
    if (matches.length > 0) return next();
    const scheme = basic === undefined ? "Bearer" : 'Basic realm="nibble", charset="UTF-8"';
    throw new ApiError(401, "the API key or password is missing or wrong", {
      code: "invalid_api_key",
      headers: { "www-authenticate": scheme },
    });
  };
}

/** Of equal length whatever was sent. */
const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

/** Schemes are case-insensitive (RFC 9110, 11.1). */
function normalize(header: string): string {
  const [, scheme = "", value = ""] = /^(\S+) +(.*)$/s.exec(header) ?? [];
  return `${scheme.charAt(0).toUpperCase()}${scheme.slice(1).toLowerCase()} ${value.trim()}`;
}
