// What the card can do: reading, copying, arithmetic, and an operation that does nothing.
import { type F32, ops } from "../../kernels/index.ts";
import { Machine } from "../../runtime/bench/index.ts";
import { openTried, recorder } from "./record.ts";
import { timeGraph } from "./timing.ts";

const record = recorder("ceilings");
using device = openTried();
{
  using machine = new Machine(device, 2 ** 32);
  const { bandwidth, peaks } = await machine.measure();
  record({ what: "read", "GB/s": bandwidth / 1e9 });
  for (const [kind, peak] of Object.entries(peaks)) record({ what: kind, "TFLOP/s": peak / 1e12 });
}
{
  using x: F32 = device.zeros("f32", [2 ** 29]);
  const seconds = await timeGraph(device, 1, () => [ops.copy(x)]);
  record({ what: "copy", "GB/s": (2 * 4 * 2 ** 29) / seconds / 1e9 });
}
{
  using x: F32 = device.zeros("f32", [1, 1]);
  const seconds = await timeGraph(device, 200, () =>
    Array.from({ length: 200 }, () => ops.add(x, x)),
  );
  record({ what: "an operation within a graph", µs: seconds * 1e6 });
}
