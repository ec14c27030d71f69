import { afterAll, expect, test } from "vitest";
import { openDevice } from "../../../kernels/index.ts";
import { openModel } from "../../../runtime/index.ts";
import { temporaryDirectory, writeTinyQwen } from "../../support/tiny-checkpoint.ts";

const temporary = temporaryDirectory();
afterAll(temporary.remove);

test("an unknown architecture is named, with what could reprogram a terminal escaped", () => {
  writeTinyQwen(temporary.path, { architectures: ["Llama\u0000\u009b2J"] });
  using device = openDevice({ threads: 1 });
  expect(() => openModel(temporary.path, device)).toThrow(
    expect.objectContaining({
      code: "CHECKPOINT_UNSUPPORTED",
      message: expect.stringMatching(/^\P{Cc}*Llama\P{Cc}+$/u),
    }),
  );
});
