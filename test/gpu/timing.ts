import type { Device, Tensor } from "../../kernels/index.ts";

const leastSeconds = 0.05;
const rounds = 5;

/**
 * Median seconds of one of the operations that `enqueue` calls `count` of, on new tensors that it returns: as a graph that is
 * replayed, so that the time is the device's and not that of calling.
 */
export async function timeGraph(
  device: Device,
  count: number,
  enqueue: () => readonly Tensor[],
): Promise<number> {
  const { graph, result } = device.capture(enqueue);
  for (const tensor of result) tensor[Symbol.dispose]();
  const replay = async (times: number): Promise<number> => {
    const started = performance.now();
    for (let i = 0; i < times; i++) graph.replay();
    await device.sync();
    return (performance.now() - started) / 1000;
  };
  // The second replay makes the device's own graph of it.
  await replay(3);
  const once = (await replay(3)) / 3;
  const times = Math.max(1, Math.ceil(leastSeconds / once));
  const seconds: number[] = [];
  for (let i = 0; i < rounds; i++) seconds.push((await replay(times)) / times / count);
  graph[Symbol.dispose]();
  return seconds.toSorted((a, b) => a - b)[rounds >> 1] ?? Number.NaN;
}
