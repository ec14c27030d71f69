export { type App, type AppOptions, createApp } from "./app.ts";
export type { Credentials } from "./authorization.ts";
export { type Listener, type ListenOptions, listen } from "./listen.ts";
export { readMessages } from "./messages.ts";
export type { ModelDetails, ServedEngine, ServedModel } from "./service.ts";
