// AutoGPTQ 0.7.1 (auto_gptq/modeling/_base.py from_quantized, quantization/config.py), the reference of the format.

import type { Loader, Rule } from "./rule.ts";
import {
  allowedValues,
  architecture,
  companions,
  fileNames,
  formatMetadata,
  readable,
  requiredFields,
  settingsAgree,
} from "./settings-rules.ts";
import { settingsOf } from "./subject.ts";
import {
  completeTensors,
  divisibility,
  groupIndex,
  tensorDtypes,
  tensorShapes,
  zerosMatchFormat,
} from "./tensor-rules.ts";

/** from_quantized makes a QuantLinear of every linear in inside_layer_modules (modeling/qwen.py): all of a block. */
const allPacked: Rule = {
  id: "all-linears-packed",
  kind: "limit",
  reason: "a linear that stayed float is not loaded: every linear of a block has to be quantized",
  violations: ({ linears, tensors }) =>
    linears
      .filter(({ name }) => tensors.has(`${name}.weight`))
      .map(({ name }) => `${name} is float`),
};

/** The buffers of a QuantLinear are float16; other floats are converted as they load. */
const halfScales: Rule = {
  id: "scales-f16",
  kind: "advice",
  reason: "scales are converted to F16, which BF16 and F32 may overflow",
  violations: ({ linears, tensors }) =>
    linears.flatMap(({ name }) => {
      const dtype = tensors.get(`${name}.scales`)?.dtype ?? "F16";
      return dtype === "F16" ? [] : [`${name}.scales is ${dtype}`];
    }),
};

export const autogptq: Loader = {
  name: "autogptq",
  title: "AutoGPTQ 0.7.1 with transformers < 4.38",
  rules: [
    readable,
    architecture,
    // BaseQuantizeConfig has defaults (4 bits, group -1), so what is absent is guessed.
    requiredFields(
      "separate",
      ["bits", "group_size"],
      "bits and group_size have to be stated, else they are taken for 4 and -1",
    ),
    settingsAgree,
    allowedValues("separate", "quant_method", ["gptq"], {
      id: "quant-method",
      kind: "defect",
      reason: 'quant_method has to be "gptq"',
    }),
    // BaseQuantizeConfig.__post_init__
    allowedValues("separate", "bits", [2, 3, 4, 8], {
      id: "bits",
      kind: "limit",
      reason: "bits have to be 2, 3, 4 or 8",
    }),
    // CHECKPOINT_FORMAT in quantization/config.py knows gptq, marlin and gemm; any other is a ValueError.
    allowedValues("separate", "checkpoint_format", ["gptq"], {
      id: "checkpoint-format",
      kind: "limit",
      reason: 'checkpoint_format has to be "gptq"; gptq_v2 is unknown to it',
    }),
    // get_checkpoints in modeling/_utils.py
    fileNames((subject) => {
      const {
        bits,
        group_size: groupSize,
        model_file_base_name: base,
      } = settingsOf(subject, "separate");
      const own = typeof base === "string" ? [base] : [];
      const bases = new Set([...own, `gptq_model-${bits}bit-${groupSize}g`, "model"]);
      return [...bases].map((base) => `${base}.safetensors`); // use_safetensors is True by default
    }),
    formatMetadata,
    completeTensors,
    allPacked,
    tensorShapes,
    tensorDtypes,
    divisibility,
    groupIndex,
    zerosMatchFormat,
    halfScales,
    companions(
      ["configuration_qwen.py", "modeling_qwen.py"],
      "remote-code",
      "the model's code has to lie beside the weights (trust_remote_code); copy it from the original model",
    ),
  ],
};
