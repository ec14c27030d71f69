import type { Credentials } from "../../runtime/index.ts";
import { UsageError } from "../errors.ts";

export type ServerFlags = {
  readonly host: string;
  readonly port: number;
  readonly apiKey?: string;
  readonly basicAuth?: string;
  readonly cors?: readonly string[];
};

/** @throws UsageError for what no client could send */
export function credentialsOf({ apiKey, basicAuth }: ServerFlags): Credentials {
  if (apiKey !== undefined && !/^[\x21-\x7e]+$/.test(apiKey)) {
    throw new UsageError("--api-key must be printable ASCII without spaces, and not empty");
  }
  if (basicAuth !== undefined && !/^[^:]+:./s.test(basicAuth)) {
    throw new UsageError("--basic-auth must be USER:PASSWORD");
  }
  return { apiKey, basic: basicAuth };
}

/** What a person who starts a server should know. */
export function warnings({ host, apiKey, basicAuth }: ServerFlags): readonly string[] {
  if (isLoopback(host) || apiKey !== undefined || basicAuth !== undefined) return [];
  return [
    `warning: everybody who reaches ${host} can use this server; --api-key or --basic-auth keeps others out`,
  ];
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\./.test(host);
}
