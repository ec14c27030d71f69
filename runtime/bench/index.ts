export { type KvMemoryRow, kvMemory, kvTableCases } from "./kv-memory.ts";
export { fullBufferBytes, Machine, type MachineRates } from "./machine.ts";
export { type Profile, profile } from "./profile.ts";
export {
  type BenchOptions,
  type BenchResult,
  type Round,
  runRounds,
  type Spread,
} from "./rounds.ts";
export { stepBytes, type Traffic, trafficOf } from "./traffic.ts";
export { DecodeWorkload, timeBatch, timePrefill } from "./workload.ts";
