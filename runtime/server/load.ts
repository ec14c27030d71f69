/** The server's code, which only a program that serves should wait for: with its libraries it takes a tenth of a second. */
export function loadServer(): Promise<typeof import("./index.ts")> {
  return import("./index.ts");
}
