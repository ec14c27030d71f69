// The app behind a socket, and how it stops.
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { getRequestListener } from "@hono/node-server";
import type { App } from "./app.ts";

export type ListenOptions = {
  readonly host: string;
  /** 0 for any that is free. */
  readonly port: number;
};

/** How long an idle connection stays, in milliseconds: longer than common proxies keep theirs. */
const keepAliveTimeout = 75_000;

/** A client has this long for its headers, and for its whole request, in milliseconds. */
const headersTimeout = 20_000;
const requestTimeout = 60_000;

export class Listener {
  readonly #server: Server;

  constructor(server: Server) {
    this.#server = server;
  }

  /** Where it is reached, such as "http://127.0.0.1:8000". */
  get url(): string {
    const { address, family, port } = this.#server.address() as AddressInfo;
    return `http://${family === "IPv6" ? `[${address}]` : address}:${port}`;
  }

  /**
   * Takes no more connections and waits for the requests that are there.
   *
   * @param grace  milliseconds until they are cut off
   * @returns whether all of them were answered
   */
  async close(grace: number): Promise<boolean> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    // A connection becomes idle when its last answer is through.
    const sweep = setInterval(() => this.#server.closeIdleConnections(), 50);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<"late">((resolve) => {
      timer = setTimeout(() => resolve("late"), grace);
    });
    const outcome = await Promise.race([closed, late]);
    clearTimeout(timer);
    clearInterval(sweep);
    if (outcome !== "late") return true;
    this.#server.closeAllConnections();
    await closed;
    return false;
  }
}

/** @throws Error of the system's, such as EADDRINUSE */
export async function listen(app: App, { host, port }: ListenOptions): Promise<Listener> {
  const handle = getRequestListener(app.fetch, { overrideGlobalObjects: false });
  const server = createServer(
    { keepAliveTimeout, headersTimeout, requestTimeout },
    (request, response) => void handle(request, response),
  );
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
  return new Listener(server);
}
