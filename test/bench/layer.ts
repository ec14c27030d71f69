// Hessian and solve of one linear, for their time beside peers/autogptq_loop.py.
//
//   node build/ts/test/bench/layer.js IN OUT SEQUENCES LENGTH -> one line of JSON
import { openDevice, ops } from "../../kernels/index.ts";
import { HessianSum } from "../../quantizer/hessian.ts";
import { methods } from "../../quantizer/methods/index.ts";
import { parseRecipe } from "../../quantizer/recipe.ts";
import { normal, seeded } from "../support/random.ts";

const [inputs = 0, outputs = 0, sequences = 0, length = 0] = process.argv.slice(2).map(Number);
const recipe = parseRecipe({});
using device = openDevice({ threads: 2 });
const random = seeded(0);
const weight = device.from("f32", normal(outputs * inputs, random, { scale: 0.02 }), [
  outputs,
  inputs,
]);
const table = normal(2 ** 20, random);
const batches = Array.from({ length: sequences }, (_, s) => {
  const x = Float32Array.from(
    { length: length * inputs },
    (_, i) => table[(i * 31 + s * 977) & 0xfffff] ?? 0,
  );
  return device.from("f32", x, [length, inputs]);
});
const sums = { dtype: recipe.hessianDtype, gptaq: recipe.gptaq };
using warm = new HessianSum(device, inputs, sums);
for (const batch of batches.slice(0, 1)) warm.add({ input: batch, hidden: batch });
await device.sync();

const started = performance.now();
using sum = new HessianSum(device, inputs, sums);
for (const batch of batches) sum.add({ input: batch, hidden: batch });
using hessian = await sum.finish("layer");
const summed = performance.now();
using solver = await methods.gptq.prepare(hessian, recipe);
solver.quantize(ops.copy(weight), {});
await device.sync();
const solved = performance.now();
console.log(
  JSON.stringify({
    hessianSeconds: (summed - started) / 1000,
    solveSeconds: (solved - summed) / 1000,
  }),
);
